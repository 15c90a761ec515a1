"""Dispatch a message: check it, render it, send it, and announce it by a signal."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from blinker import NamedSignal, Namespace

from .address import Address, envelope, mailbox
from .errors import BadHeaderError, DeadlineExceeded, NoRecipientsError, NoSenderError
from .message import Message
from .mime import render
from .session import BeforeData, SendResult, Transaction
from .settings import MailSettings

if TYPE_CHECKING:
    from quart import Quart

NULL_SENDER = "<>"  # MAIL FROM of mails that must not cause a bounce, RFC 5321 4.5.5

_log = logging.getLogger(__name__)

signals: Namespace = Namespace()
email_dispatched: NamedSignal = signals.signal(
    "email-dispatched",
    doc="Sent after a mail was dispatched, also if sending is suppressed. Sender: the app.",
)


class SendRequest(NamedTuple):
    """A message and how to send it, as in ``Mail.send``; the times are seconds, else the settings'."""

    message: Message
    envelope_from: Address | None = None
    before_data: BeforeData | None = None
    timeout: float | None = None
    deadline: float | None = None
    reply_timeout: float | None = None


async def dispatch(
    app: Quart,
    state: MailSettings,
    send: Callable[[Transaction], Awaitable[SendResult]],
    request: SendRequest,
) -> SendResult:
    """Check a message, send it by ``send``, and announce it by ``email_dispatched``.

    With ``MAIL_SUPPRESS_SEND`` everything except the sending happens. Raises MailError, or what
    ``request.before_data`` raises.
    """
    transaction = make_transaction(state, request)
    if state.suppress:
        if transaction.before_data is not None:
            await transaction.before_data()
        result = SendResult(None, "", {})
    else:
        limit = state.deadline if request.deadline is None else request.deadline
        ends_at_dot = request.reply_timeout is not None
        result = await _send_before(limit, send, transaction, ends_at_dot=ends_at_dot)
    await _announce(app, request.message)
    return result


def make_transaction(state: MailSettings, request: SendRequest) -> Transaction:
    """Return a message's envelope and bytes; raises MessageError if it cannot be sent."""
    message = request.message
    if not message.send_to:
        raise NoRecipientsError("No recipients have been added.")
    message.prepare(state)
    if not message.sender:
        raise NoSenderError(
            "The message does not specify a sender and MAIL_DEFAULT_SENDER is not set."
        )
    if message.has_bad_headers():
        raise BadHeaderError
    sender = request.envelope_from
    return Transaction(
        sender="" if sender == NULL_SENDER else mailbox(sender or message.sender).spec,
        recipients=envelope(message.send_to),
        data=render(message, ascii_attachments=state.ascii_attachments),
        mail_options=message.mail_options,
        rcpt_options=message.rcpt_options,
        timeout=request.timeout or state.timeout,
        data_timeout=request.reply_timeout or request.timeout or state.data_timeout,
        before_data=request.before_data,
    )


async def _send_before(
    limit: float | None,
    send: Callable[[Transaction], Awaitable[SendResult]],
    transaction: Transaction,
    *,
    ends_at_dot: bool,
) -> SendResult:
    """Send within ``limit`` seconds, including the wait for a free connection.

    ``ends_at_dot``: the limit does not include the reply to the final dot.
    """
    try:
        async with asyncio.timeout(limit) as timeout:
            if ends_at_dot:
                transaction.after_data = lambda: timeout.reschedule(None)
            return await send(transaction)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise DeadlineExceeded(
            f"The mail could not be sent within {limit:g} seconds.",
            stage=transaction.progress.stage,
            in_doubt=transaction.progress.in_doubt,
        ) from error


async def _announce(app: Quart, message: Message) -> None:
    """Call every receiver of ``email_dispatched``, sync or async, on this event loop.

    An exception in a receiver is only logged: the mail was sent, and an error here would make the
    caller send it again. (``send_async`` of blinker with Quart would run sync receivers in a thread.)
    """
    for receiver in list(email_dispatched.receivers_for(app)):
        try:
            result: Any = receiver(app, message=message)
            if inspect.isawaitable(result):
                await result
        except Exception:
            _log.exception("A receiver of email_dispatched failed; the mail was dispatched")
