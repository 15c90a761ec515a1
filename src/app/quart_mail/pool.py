"""Connections kept open between messages."""

from __future__ import annotations

import asyncio

from .dialogue import Job, Progress, sockets_closed
from .errors import ConnectionLost, MailError, ReplyTimeout, ServiceUnavailable
from .opening import open_session
from .session import SendResult, Session
from .settings import MailState


class Line:
    """One connection that opens itself when needed and anew when its server has left it."""

    def __init__(self, state: MailState) -> None:
        self.state = state
        self.session: Session | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.is_kept = True  # after its message, unless the pool was closed meanwhile

    @property
    def is_open(self) -> bool:
        """Say whether there is a connection that can take a message."""
        return self.session is not None and self.session.is_open

    async def open(self, progress: Progress | None = None, timeout: float | None = None) -> Session:
        """Open the connection unless it is; raises MailError."""
        if self.session is None or not self.session.is_open:
            self.quit()
            self.session = await open_session(
                self.state, progress or Progress(), timeout or self.state.timeout
            )
        return self.session

    async def send(self, job: Job) -> SendResult:
        """Send one message; a kept connection that turns out to be closed is replaced once."""
        if self.session is not None and self.is_open:
            try:
                return await self._over(self.session, job)
            except MailError as error:
                if not _was_left(error, job.progress):
                    raise
                self.abort()
        return await self._over(await self.open(job.progress, job.timeout), job)

    async def _over(self, session: Session, job: Job) -> SendResult:
        try:
            return await session.send(job)
        finally:
            if session.is_spent:
                self.quit()

    def abort(self) -> None:
        """Close at once."""
        if self.session is not None:
            self.session.abort()
            self.session = None

    def quit(self) -> None:
        """Say QUIT and close, without waiting."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        if self.session is not None:
            self.session.quit()
            self.session = None


def _was_left(error: MailError, progress: Progress) -> bool:
    """Say whether a server had tired of a kept connection: no message was begun then."""
    if progress.stage == "reset":
        return not isinstance(error, ReplyTimeout)
    return progress.stage == "mail" and isinstance(error, (ConnectionLost, ServiceUnavailable))


class Pool:
    """At most ``MAIL_POOL_SIZE`` connections, each kept ``MAIL_POOL_IDLE`` seconds when idle.

    A plain bound, first come first served: who wants a connection in reserve (for urgent mail, say)
    keeps its own number of messages at once below ``size``. A pool belongs to the event loop it is
    used on; on another loop it begins anew.
    """

    def __init__(self, state: MailState) -> None:
        self.state = state
        self._idle: list[Line] = []
        self._in_use: set[Line] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(state.pool_size)

    @property
    def size(self) -> int:
        """How many connections there may be at once."""
        return self.state.pool_size

    @property
    def idle(self) -> int:
        """How many open connections wait for a message."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many messages are under way."""
        return len(self._in_use)

    async def send(self, job: Job) -> SendResult:
        """Send a message over a kept or a new connection, waiting for one if all are in use.

        Raises MailError, or what ``job.before_data`` raises.
        """
        self._bind()
        async with self._slots:
            line = self._take()
            self._in_use.add(line)
            try:
                return await line.send(job)
            finally:
                self._give_back(line)

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._idle = []
            self._in_use = set()
            self._slots = asyncio.Semaphore(self.state.pool_size)

    def _take(self) -> Line:
        """Return the connection used last, which is the likeliest to be open still, or a new one."""
        line = self._idle.pop() if self._idle else Line(self.state)
        if line.expiry is not None:
            line.expiry.cancel()
            line.expiry = None
        return line

    def _give_back(self, line: Line) -> None:
        """Keep an open connection for a while, unless the pool was closed in the meantime."""
        self._in_use.discard(line)
        if line.is_open and line.is_kept:
            loop = asyncio.get_running_loop()
            line.expiry = loop.call_later(self.state.pool_idle, self._expire, line)
            self._idle.append(line)
        else:
            line.quit()

    def _expire(self, line: Line) -> None:
        if line in self._idle:
            self._idle.remove(line)
        line.quit()

    async def close(self) -> None:
        """Close the idle connections now and those in use after their message.

        The pool may be used again afterwards.
        """
        if self._loop is not asyncio.get_running_loop():
            return
        idle, self._idle = self._idle, []
        for line in self._in_use:
            line.is_kept = False
        for line in idle:
            line.quit()
        await sockets_closed()
