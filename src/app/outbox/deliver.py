"""One attempt to deliver one claimed row: compose its message, send it, and say what came of it."""

from __future__ import annotations

import asyncio
import logging

from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated
from app.outbox import content
from app.outbox.claim import Claim
from app.outbox.counting import rendering
from app.outbox.kinds import READY_MADE, MailRequest, Rendered
from app.outbox.rules import Event, Outcome
from app.outbox.state import Outbox
from app.quart_mail import MailError, Message, SendResult
from app.quart_mail.errors import OPENING_STAGES

_log = logging.getLogger(__name__)


class NotOurs(Exception):
    """DATA may not begin: the claim is lost or about to be, or the mail has expired."""


class UnknownKind(LookupError):
    """No renderer is registered for the kind; a newer process may have one."""


async def compose(outbox: Outbox, claim: Claim) -> Message | Outcome:
    """Return the message of `claim`, or the outcome when there is none to send."""
    try:
        message = await _message(outbox, claim)
    except DatabaseUnavailable:
        return Outcome(Event.DEFERRED, text="The database did not answer while it was rendered.")
    except TimeoutError:
        return Outcome(Event.DEFERRED, text=f"Rendering it took more than {outbox.deadline:g} s.")
    except UnknownKind:
        return Outcome(Event.DEFERRED, text=f"Nobody here renders mails of the kind {claim.kind}.")
    except Exception as error:
        if isinstance(error, DBAPIError) and is_schema_outdated(
            error
        ):  # amid an upgrade of the site
            return Outcome(Event.DEFERRED, text=NOT_MIGRATED)
        return _unrendered(outbox, claim, error)
    return Outcome(Event.NOTHING) if message is None else message


async def _message(outbox: Outbox, claim: Claim) -> Message | None:
    if claim.kind == READY_MADE:
        return await content.load(outbox.database, claim)
    kind = outbox.kinds.get(claim.kind)
    if kind is None:
        raise UnknownKind(claim.kind)
    request = MailRequest(claim.id, claim.kind, claim.params or {}, claim.created_at)
    with rendering(claim.id):
        async with asyncio.timeout(outbox.deadline):
            rendered = await kind.renderer(request)
    if isinstance(rendered, Rendered):
        claim.about = rendered.about
        rendered = rendered.message
    if rendered is not None:
        rendered.msgId = claim.message_id
    return rendered


def _unrendered(outbox: Outbox, claim: Claim, error: Exception) -> Outcome:
    kind = outbox.kinds.get(claim.kind)
    _log.error(
        "Mail %d (%s) could not be rendered: %s",
        claim.id,
        claim.kind,
        type(error).__name__,
        exc_info=None if kind is None or kind.secret else error,
    )
    return Outcome(Event.UNRENDERED, text=f"It could not be rendered: {type(error).__name__}.")


async def send(outbox: Outbox, claim: Claim, message: Message) -> Outcome:
    """Send the message of a fenced claim, and say what came of it."""

    async def before_data() -> None:
        if not claim.may_begin(outbox.clock(), outbox.margin):
            raise NotOurs
        claim.is_at_data = True

    deadline = outbox.ready_deadline if claim.kind == READY_MADE else outbox.deadline
    try:
        result = await outbox.mail.send(message, before_data=before_data, deadline=deadline)
    except MailError as error:
        return of_error(error)
    except NotOurs:
        return Outcome(Event.LET_GO)
    except Exception as error:
        _log.exception("Mail %d (%s) could not be sent", claim.id, claim.kind)
        text = f"It could not be sent: {type(error).__name__}."
        return Outcome(Event.REFUSED, text=text, in_doubt=claim.is_at_data)
    return of_result(result)


def of_error(error: MailError) -> Outcome:
    """Return the outcome that `error` means."""
    if error.scope == "server":
        is_at_opening = error.stage is None or error.stage in OPENING_STAGES
        event = Event.TROUBLE if is_at_opening else Event.TROUBLE_AMID
    else:
        event = Event.DEFERRED if error.retry else Event.REFUSED
    return Outcome(event, error.code, error.text, error.in_doubt)


def of_result(result: SendResult) -> Outcome:
    """Return the outcome of a message that was taken; recipients that were refused stand in its text."""
    if not result.refused:
        return Outcome(Event.TAKEN, result.code, result.text)
    refused = "; ".join(
        f"{address}: {reply.code} {reply.text}" for address, reply in result.refused.items()
    )
    code = next(iter(result.refused.values())).code
    return Outcome(Event.TAKEN, code, f"Sent, but not to all. Refused: {refused}")
