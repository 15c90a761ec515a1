"""A pool of SMTP sessions that stay open between messages."""

import asyncio

from .dialogue import wait_closed
from .session import SendResult, Session, Transaction
from .settings import MailSettings


class Pool:
    """At most ``MAIL_POOL_SIZE`` connections; an idle one is closed after ``MAIL_POOL_IDLE`` seconds.

    First come, first served. To reserve a connection (say for urgent mail), send fewer other
    messages at once. On another event loop the pool starts empty.
    """

    def __init__(self, settings: MailSettings) -> None:
        self.settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: dict[Session, asyncio.TimerHandle] = {}
        self._in_use: set[Session] = set()
        self._slots = asyncio.Semaphore(settings.pool_size)

    @property
    def idle(self) -> int:
        """The number of open connections that are not in use."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """The number of messages being sent."""
        return len(self._in_use)

    async def send(self, transaction: Transaction) -> SendResult:
        """Send over an idle or a new connection, or wait for one; raises what ``Session.send`` raises."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._idle, self._in_use = loop, {}, set()
            self._slots = asyncio.Semaphore(self.settings.pool_size)
        async with self._slots:
            session = self._take() if self._idle else Session(self.settings)
            self._in_use.add(session)
            try:
                return await session.send(transaction)
            finally:
                self._in_use.discard(session)
                if session.is_open and session.is_reusable:
                    expiry = loop.call_later(self.settings.pool_idle, self._expire, session)
                    self._idle[session] = expiry
                else:
                    session.quit()

    def _take(self) -> Session:
        """Remove the session used last, the likeliest to be still open, from those that are idle."""
        session, expiry = self._idle.popitem()
        expiry.cancel()
        return session

    def _expire(self, session: Session) -> None:
        self._idle.pop(session, None)
        session.quit()

    async def close(self) -> None:
        """Close idle connections now and those in use after their message; the pool stays usable."""
        if self._loop is not asyncio.get_running_loop():
            return
        for session in self._in_use:
            session.is_reusable = False
        while self._idle:
            self._take().quit()
        await wait_closed()
