"""One attempt to deliver a claimed row: render it, mark it as sending, send it, and settle it."""

import asyncio
import logging
import random
from hashlib import sha256

from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, Unreadable, is_schema_outdated
from app.outbox import messages, policy, transitions
from app.outbox.claims import Claim, still_owned
from app.outbox.models import DONE_STATES, State
from app.outbox.policy import Capacity, CircuitBreaker, Event, Outcome, PrioritySemaphore
from app.outbox.state import READY_MADE_KIND, MailRequest, Outbox, Postponed, Rendered
from app.outbox.writer import BatchWriter
from app.quart_mail import MailError, Message, SenderRefused
from app.quart_mail.errors import CONNECTION_STAGES

_log = logging.getLogger(__name__)
_RELEASED = Outcome(Event.RELEASED)
_LEVELS = {State.SENT: logging.DEBUG, State.SKIPPED: logging.DEBUG, State.FAILED: logging.WARNING}
"""Sent mails are logged at DEBUG, because writing the line takes a tenth as long as sending the mail."""


class DataNotAllowed(Exception):
    """DATA may not begin: the claim is lost or about to be, or the mail has expired."""


class UnknownKind(LookupError):
    """No renderer is registered for the kind; a process of a newer version may have one."""


class Deliverer:
    """Delivers claimed rows, sharing the connections of this process."""

    def __init__(self, outbox: Outbox, capacity: Capacity) -> None:
        self.outbox = outbox
        self.breaker = CircuitBreaker(outbox.times)
        self.writer = BatchWriter(outbox, capacity.sending)
        self._connections = PrioritySemaphore(capacity.connections)

    async def run(self, claim: Claim) -> None:
        """Make one attempt and settle the row. When cancelled, release it, or leave it if it was lost."""
        try:
            try:
                outcome = await self._attempt(claim)
            except asyncio.CancelledError:
                if claim.is_lost:
                    raise
                outcome = Outcome(Event.RELEASED, in_doubt=claim.is_at_data)
            settlement = policy.decide(
                outcome,
                attempts=claim.attempts,
                in_doubt=claim.in_doubt,
                priority=claim.priority,
                times=self.outbox.times,
                jitter=random.uniform(-1, 1),  # noqa: S311 -- spreads load, not a secret
            )
            if await self.writer.settle(claim, settlement):
                self._report(claim, settlement)
        finally:
            self.writer.forget(claim)

    async def _attempt(self, claim: Claim) -> Outcome:
        """Render, mark and send.

        Rows are marked as sending in batches, before a connection is free. Ready-made messages, which can be
        large, are loaded only after that, so that fewer of them are in memory.
        """
        async with self.outbox.app.app_context():
            if not self._may_send(claim):
                return _RELEASED
            is_ready = claim.kind == READY_MADE_KIND
            if is_ready and (obstacle := await self._mark(claim)):
                return obstacle
            message = await compose(self.outbox, claim)
            if isinstance(message, Outcome):
                return message
            if not is_ready and (obstacle := await self._mark(claim, message)):
                return obstacle
            if claim.is_decoy:
                message.as_bytes()
                return Outcome(Event.NOT_NEEDED)
            return await self._send(claim, message)

    async def _mark(self, claim: Claim, message: Message | None = None) -> Outcome | None:
        """Mark the row as sending, or return why it cannot be; a rendered `message` is split first."""
        try:
            is_owned = message is None or await self._split(claim, message)
            return None if is_owned and await self.writer.mark_sending(claim) else _RELEASED
        except MailError as error:
            return of_error(error)
        except DatabaseUnavailable:
            return _RELEASED
        except DBAPIError as error:
            text = f"The database refused the write: {type(error).__name__}."
            return Outcome(Event.DEFERRED, text=text)

    async def _split(self, claim: Claim, message: Message) -> bool:
        """Give each recipient of a rendered message a row of its own; return False if the claim was lost.

        Raises MessageError, DatabaseUnavailable and DBAPIError.
        """
        if len(message.send_to) < 2:
            return True
        recipients = messages.recipients(message)
        async with self.writer.lock, self.outbox.database.transaction() as connection:
            now = self.outbox.clock()
            if not await still_owned(connection, [claim], now=now):
                return False
            await transitions.split(connection, claim, recipients, now=now)
        message.envelope_to = claim.recipient
        self.outbox.wake()
        return True

    async def _send(self, claim: Claim, message: Message) -> Outcome:
        async with self._connections.acquire(claim.priority):
            if not self._may_send(claim):
                return _RELEASED
            outcome = await send(self.outbox, claim, message)
            was_open = self.breaker.is_open
            self.breaker.record(outcome, is_probe=claim.is_probe)
            if self.breaker.is_open and not was_open:
                _log.warning("Mail server unavailable; delivery paused: %s", outcome.text)
            elif was_open and not self.breaker.is_open:
                _log.warning("Mail server available again; delivery resumed")
            return outcome

    def _may_send(self, claim: Claim) -> bool:
        """Return whether to go on; an expired row is released and then found by `maintenance.expire`."""
        is_paused = self.breaker.is_open and not claim.is_probe
        may_send = claim.may_send(self.outbox.clock(), self.outbox.margin)
        return may_send and not (claim.is_stopping or is_paused)

    def _report(self, claim: Claim, settlement: policy.Settlement) -> None:
        """Log the outcome, and wake the tasks that await it."""
        level = _LEVELS.get(settlement.state, logging.INFO if settlement.text else logging.DEBUG)
        reason = f" ({settlement.text})" if settlement.text else ""
        if settlement.in_doubt:
            level, reason = logging.WARNING, f", in doubt{reason}"
        _log.log(level, "Mail %d (%s): %s%s", claim.id, claim.kind, settlement.state, reason)
        if settlement.state in DONE_STATES:
            self.outbox.notify_done([claim.id])


async def compose(outbox: Outbox, claim: Claim) -> Message | Outcome:
    """Return the message of `claim`, or the outcome if there is none to send."""
    try:
        message = await _message(outbox, claim)
    except DatabaseUnavailable:
        return Outcome(Event.DEFERRED, text="The database was unavailable while rendering.")
    except TimeoutError:
        return Outcome(Event.DEFERRED, text=f"Rendering took more than {outbox.deadline:g} s.")
    except UnknownKind:
        text = f"This version of the site has no mail of the kind {claim.kind}."
        return Outcome(Event.DEFERRED, text=text)
    except messages.UnreadableMail as error:
        return Outcome(Event.UNRENDERED, text=str(error))
    except Exception as error:
        if isinstance(error, DBAPIError) and is_schema_outdated(error):  # during an upgrade of the site
            return Outcome(Event.DEFERRED, text=NOT_MIGRATED)
        return _unrendered(outbox, claim, error)
    if isinstance(message, Postponed):
        wait = (message.until - outbox.clock()).total_seconds()
        return Outcome(Event.POSTPONED, wait=max(0.0, wait))
    return Outcome(Event.NOT_NEEDED) if message is None else message


async def _message(outbox: Outbox, claim: Claim) -> Message | Postponed | None:
    if claim.kind == READY_MADE_KIND:
        return await messages.load(outbox.database, claim)
    kind = outbox.kinds.get(claim.kind)
    if kind is None:
        raise UnknownKind(claim.kind)
    if isinstance(claim.params, Unreadable):
        raise messages.UnreadableMail(f"The stored parameters are {claim.params}.")
    if claim.params is None:
        return None  # its recipient has deleted the account meanwhile (see `transitions.withdraw`)
    request = MailRequest(claim.id, claim.kind, claim.params, claim.created_at, claim.message_id)
    claim.is_replaceable, claim.is_transient = kind.merge is None, kind.transient
    async with asyncio.timeout(outbox.deadline):
        rendered = await kind.renderer(request)
    if isinstance(rendered, Postponed):
        return rendered
    if isinstance(rendered, Rendered):
        claim.about, claim.is_decoy = rendered.about, rendered.is_decoy
        rendered = rendered.message
    return None if rendered is None else _fixed(rendered, claim)


def _fixed(message: Message, claim: Claim) -> Message | None:
    """Set what all copies and attempts of `message` share; return None if its recipient was removed."""
    message.msgId = claim.message_id
    message.boundary = f"=_{sha256(claim.message_id.encode()).hexdigest()[:24]}"
    if message.date is None:
        message.date = claim.created_at.timestamp()
    if claim.recipient is not None:
        if claim.recipient not in messages.recipients(message):
            return None
        message.envelope_to = claim.recipient
    return message


def _unrendered(outbox: Outbox, claim: Claim, error: Exception) -> Outcome:
    kind = outbox.kinds.get(claim.kind)
    name = type(error).__name__
    traceback = None if kind is None or kind.secret else error
    _log.error("Mail %d (%s) failed to render: %s", claim.id, claim.kind, name, exc_info=traceback)
    return Outcome(Event.UNRENDERED, text=f"Rendering failed: {name}.")


async def send(outbox: Outbox, claim: Claim, message: Message) -> Outcome:
    """Send the message of a row that is in `sending`, and return the outcome."""

    async def before_data() -> None:
        if not claim.may_send(outbox.clock(), outbox.margin):
            raise DataNotAllowed
        claim.is_at_data = True

    if claim.kind == READY_MADE_KIND:
        deadline, reply_timeout = outbox.ready_deadline, outbox.ready_reply_timeout
    else:
        deadline, reply_timeout = outbox.deadline, outbox.reply_timeout
    try:
        result = await outbox.mail.send(
            message, before_data=before_data, deadline=deadline, reply_timeout=reply_timeout
        )
    except MailError as error:
        return of_error(error)
    except DataNotAllowed:
        return _RELEASED
    except Exception as error:
        _log.exception("Mail %d (%s) could not be sent", claim.id, claim.kind)
        text = f"Sending failed: {type(error).__name__}."
        return Outcome(Event.REFUSED, text=text, in_doubt=claim.is_at_data)
    return Outcome(Event.ACCEPTED, result.code, result.text)


def of_error(error: MailError) -> Outcome:
    """Return the outcome for `error`."""
    if error.scope == "server":
        is_connecting = error.stage is None or error.stage in CONNECTION_STAGES
        is_every_mail = is_connecting or isinstance(error, SenderRefused)
        event = Event.SERVER_DOWN if is_every_mail else Event.SERVER_DOWN_MID_MESSAGE
    else:
        event = Event.DEFERRED if error.retry else Event.REFUSED
    return Outcome(event, error.code, error.text, error.in_doubt)
