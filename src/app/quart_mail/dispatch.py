"""What happens to every message: checked, made into bytes, sent, announced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from .address import Address, envelope, mailbox
from .dialogue import BeforeData, Job
from .errors import BadHeaderError, DeadlineExceeded, NoRecipientsError, NoSenderError
from .message import Message
from .render import render
from .session import SendResult
from .settings import MailState
from .signals import announce

if TYPE_CHECKING:
    from quart import Quart

NULL_SENDER = "<>"  # for mails that must never be answered by a bounce, RFC 5321 4.5.5


class Order(NamedTuple):
    """A message and how to send it; ``timeout`` and ``deadline``: seconds, else the settings'."""

    message: Message
    envelope_from: Address | None = None
    before_data: BeforeData | None = None
    timeout: float | None = None
    deadline: float | None = None


async def dispatch(
    app: Quart, state: MailState, send: Callable[[Job], Awaitable[SendResult]], order: Order
) -> SendResult:
    """Check and send a message by ``send``, then announce it by ``email_dispatched``.

    With ``MAIL_SUPPRESS_SEND`` everything but the sending happens. Raises MailError, or what
    ``order.before_data`` raises.
    """
    job = make_job(state, order)
    if state.suppress:
        if job.before_data is not None:
            await job.before_data()
        result = SendResult(None, "", {})
    else:
        limit = state.deadline if order.deadline is None else order.deadline
        result = await _in_time(send, job, limit)
    await announce(app, order.message)
    return result


def make_job(state: MailState, order: Order) -> Job:
    """Return envelope and bytes of a message; raises MessageError for one that cannot be sent."""
    message = order.message
    if not message.send_to:
        raise NoRecipientsError("No recipients have been added.")
    message.prepare(state)
    if not message.sender:
        raise NoSenderError(
            "The message does not specify a sender and MAIL_DEFAULT_SENDER is not set."
        )
    if message.has_bad_headers():
        raise BadHeaderError
    given = order.envelope_from
    return Job(
        sender="" if given == NULL_SENDER else mailbox(given or message.sender).spec,
        recipients=envelope(message.send_to),
        data=render(message, ascii_attachments=state.ascii_attachments),
        mail_options=message.mail_options,
        rcpt_options=message.rcpt_options,
        timeout=order.timeout or state.timeout,
        data_timeout=order.timeout or state.data_timeout,
        before_data=order.before_data,
    )


async def _in_time(
    send: Callable[[Job], Awaitable[SendResult]], job: Job, limit: float | None
) -> SendResult:
    """Send within ``limit`` seconds, waiting for a connection included."""
    try:
        async with asyncio.timeout(limit) as clock:
            return await send(job)
    except TimeoutError as error:
        if not clock.expired():
            raise
        progress = job.progress
        raise DeadlineExceeded(
            f"The mail could not be sent within {limit:g} seconds.",
            stage=progress.stage,
            in_doubt=progress.in_doubt,
        ) from error
