"""A pool of SMTP connections that stay open between messages."""

from __future__ import annotations

import asyncio

from .connect import open_session
from .errors import ConnectionLost, MailError, ReplyTimeout, ServiceUnavailable
from .session import Progress, SendResult, Session, Transaction, wait_closed
from .settings import MailSettings


class PersistentConnection:
    """A connection that opens itself when needed, and again after the server closed it."""

    def __init__(self, state: MailSettings) -> None:
        self.state = state
        self.session: Session | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.is_reusable = True  # false if the pool was closed while this one was in use

    @property
    def is_open(self) -> bool:
        """Whether there is an open session."""
        return self.session is not None and self.session.is_open

    async def open(self, progress: Progress | None = None, timeout: float | None = None) -> Session:
        """Open a session unless there is one; raises MailError."""
        if self.session is None or not self.session.is_open:
            self.quit()
            self.session = await open_session(
                self.state, progress or Progress(), timeout or self.state.timeout
            )
        return self.session

    async def send(self, transaction: Transaction) -> SendResult:
        """Send one message; reconnect once if the server had closed the idle connection."""
        if self.session is not None and self.is_open:
            try:
                return await self._send(self.session, transaction)
            except MailError as error:
                if not _closed_while_idle(error, transaction.progress):
                    raise
                self.abort()
        session = await self.open(transaction.progress, transaction.timeout)
        return await self._send(session, transaction)

    async def _send(self, session: Session, transaction: Transaction) -> SendResult:
        try:
            return await session.send(transaction)
        finally:
            if session.is_spent:
                self.quit()

    def abort(self) -> None:
        """Close at once, without QUIT."""
        if self.session is not None:
            self.session.abort()
            self.session = None

    def quit(self) -> None:
        """Send QUIT and close, without waiting."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        if self.session is not None:
            self.session.quit()
            self.session = None


def _closed_while_idle(error: MailError, progress: Progress) -> bool:
    """Whether the server had closed an idle connection, so that no message was begun."""
    if progress.stage == "reset":
        return not isinstance(error, ReplyTimeout)
    return progress.stage == "mail" and isinstance(error, (ConnectionLost, ServiceUnavailable))


class Pool:
    """At most ``MAIL_POOL_SIZE`` connections; an idle one is closed after ``MAIL_POOL_IDLE`` seconds.

    First come, first served. To reserve a connection (say for urgent mail), send fewer than ``size``
    other messages at once. On another event loop the pool starts empty.
    """

    def __init__(self, state: MailSettings) -> None:
        self.state = state
        self._idle: list[PersistentConnection] = []
        self._in_use: set[PersistentConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(state.pool_size)

    @property
    def size(self) -> int:
        """The maximum number of connections."""
        return self.state.pool_size

    @property
    def idle(self) -> int:
        """The number of open connections that are not in use."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """The number of messages being sent."""
        return len(self._in_use)

    async def send(self, transaction: Transaction) -> SendResult:
        """Send a message over an idle or a new connection; wait if all are in use.

        Raises MailError, or what ``transaction.before_data`` raises.
        """
        self._bind_to_loop()
        async with self._slots:
            connection = self._acquire()
            self._in_use.add(connection)
            try:
                return await connection.send(transaction)
            finally:
                self._release(connection)

    def _bind_to_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._idle = []
            self._in_use = set()
            self._slots = asyncio.Semaphore(self.state.pool_size)

    def _acquire(self) -> PersistentConnection:
        """Return the connection used last, the likeliest to be still open, or a new one."""
        connection = self._idle.pop() if self._idle else PersistentConnection(self.state)
        if connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None
        return connection

    def _release(self, connection: PersistentConnection) -> None:
        self._in_use.discard(connection)
        if connection.is_open and connection.is_reusable:
            loop = asyncio.get_running_loop()
            connection.expiry = loop.call_later(self.state.pool_idle, self._expire, connection)
            self._idle.append(connection)
        else:
            connection.quit()

    def _expire(self, connection: PersistentConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        connection.quit()

    async def close(self) -> None:
        """Close idle connections now and those in use after their message; the pool stays usable."""
        if self._loop is not asyncio.get_running_loop():
            return
        idle, self._idle = self._idle, []
        for connection in self._in_use:
            connection.is_reusable = False
        for connection in idle:
            connection.quit()
        await wait_closed()
