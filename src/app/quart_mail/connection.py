"""``async with mail.connect() as conn``: many messages over one connection of one's own."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .address import Address
from .dialogue import BeforeData, Job, sockets_closed
from .dispatch import Order, dispatch
from .message import Message
from .pool import Line
from .session import SendResult
from .settings import MailState

if TYPE_CHECKING:
    from quart import Quart


class Connection:
    """A connection to the mail server, opened by ``async with`` and apart from the pool.

    After ``MAIL_MAX_EMAILS`` messages it is closed, and opened anew when there is a next one.
    """

    def __init__(self, app: Quart, state: MailState) -> None:
        self.app = app
        self.state = state
        self._line = Line(state)
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Connection:
        """Connect, greet and log in; raises MailError."""
        if not self.state.suppress:
            await self._line.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say QUIT and close; nothing can go wrong with the messages sent any more."""
        self._line.quit()
        await sockets_closed()

    async def send(
        self,
        message: Message,
        envelope_from: Address | None = None,
        *,
        before_data: BeforeData | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> SendResult:
        """Send one message; arguments, result and errors are those of ``Mail.send``."""
        order = Order(message, envelope_from, before_data, timeout, deadline)
        return await dispatch(self.app, self.state, self._send_job, order)

    async def send_message(self, *args: Any, **kwargs: Any) -> SendResult:
        """Send a Message made of the arguments."""
        return await self.send(Message(*args, **kwargs))

    async def _send_job(self, job: Job) -> SendResult:
        async with self._turn:  # one after the other, also for tasks that share the connection
            return await self._line.send(job)
