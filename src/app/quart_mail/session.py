"""Sending messages over one connection, one after the other, and a pool of such connections."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiosmtplib import SMTPServerDisconnected

from .address import mailbox
from .classify import default_sender_error, reply_error
from .connect import connect
from .dialogue import CONTINUE, SUCCESS, Dialogue, Progress, wait_closed
from .errors import (
    ConnectionLost,
    MailError,
    RecipientsRefused,
    RefusedError,
    Reply,
    ReplyTimeout,
    ServiceUnavailable,
    Smtputf8Error,
)
from .settings import MailSettings

BeforeData = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of sending a message that at least one recipient was accepted for.

    ``code``, ``text``: the server's reply to the message; None and "" when sending is suppressed.
    ``refused``: the refused recipients, each with the server's reply.
    """

    code: int | None
    text: str
    refused: dict[str, Reply]


@dataclass(slots=True)
class Transaction:
    """A mail transaction (RFC 5321 3.3): envelope, message and options; timeouts are seconds per reply.

    ``needs_utf8``: an address needs SMTPUTF8; nothing else puts bytes over 127 into ``data``.
    ``after_data`` is called when the message has been written, its final dot included.
    """

    sender: str
    recipients: list[str]
    data: bytes
    needs_utf8: bool
    mail_options: list[str]
    rcpt_options: list[str]
    timeout: float
    data_timeout: float
    before_data: BeforeData | None = None
    after_data: Callable[[], None] | None = None
    progress: Progress = field(default_factory=Progress)


class Session(Dialogue):
    """A connection that opens itself when needed, and again after the server closed it."""

    def __init__(self, settings: MailSettings) -> None:
        super().__init__(settings)
        self.is_reusable = True  # false if the pool was closed while this one was in use
        self._messages = 0
        self._needs_reset = False  # the server may have an unfinished transaction

    async def open(self, progress: Progress | None = None, timeout: float | None = None) -> None:
        """Connect and log in; raises MailError. ``timeout``: seconds for each reply."""
        self.quit()
        self._messages = 0
        self._needs_reset = False
        self.progress = progress or Progress()
        await connect(self, timeout or self.settings.timeout)

    async def send(self, transaction: Transaction) -> SendResult:
        """Send one message; reconnect once if the server had closed the idle connection.

        Closes the connection if its state is uncertain afterwards. Raises MailError, or what
        ``transaction.before_data`` raises, unchanged.
        """
        if self.is_open:
            try:
                return await self._transact(transaction)
            except MailError as error:
                if not _closed_while_idle(error, transaction.progress.stage):
                    raise
                self.client.close()
        await self.open(transaction.progress, transaction.timeout)
        return await self._transact(transaction)

    async def _transact(self, transaction: Transaction) -> SendResult:
        self.progress = transaction.progress
        try:
            refused = await self._send_envelope(transaction)
            if transaction.before_data is not None:
                self.progress.stage = "before_data"
                await transaction.before_data()
            timeout = transaction.timeout
            await self.command("data", b"DATA", timeout=timeout, expected=CONTINUE)
            transfer = self._transfer(transaction)
            response = await self.wait_for("dot", transfer, transaction.data_timeout)
            reply = self.parse_reply("dot", response)
            self._needs_reset = False
            self.progress.in_doubt = False
            if reply.code // 100 != SUCCESS:
                raise reply_error("dot", reply)
        except (RefusedError, Smtputf8Error):
            raise
        except BaseException as error:
            if self.progress.stage != "before_data" or not isinstance(error, Exception):
                self.client.close()
            raise
        finally:
            if self._messages == self.settings.max_emails:
                self.quit()
        return SendResult(reply.code, reply.text, refused)

    async def _send_envelope(self, transaction: Transaction) -> dict[str, Reply]:
        """Send MAIL FROM and RCPT TO; return the refused recipients, or raise if all were."""
        timeout = transaction.timeout
        options = self._mail_options(transaction)
        if self._needs_reset:
            await self.command("reset", b"RSET", timeout=timeout)
        self._needs_reset = True
        sender = f"FROM:<{transaction.sender}>".encode()
        reply = await self.request("mail", b"MAIL", sender, *options, timeout=timeout)
        if reply.code // 100 != SUCCESS:
            raise self._sender_error(transaction, reply)
        self._messages += 1
        refused: dict[str, Reply] = {}
        options = [option.encode() for option in transaction.rcpt_options]
        for recipient in transaction.recipients:
            words = (b"RCPT", f"TO:<{recipient}>".encode(), *options)
            reply = await self.request("rcpt", *words, timeout=timeout)
            if reply.code // 100 == SUCCESS:
                continue
            error = reply_error("rcpt", reply)
            if not isinstance(error, RecipientsRefused):
                raise error
            refused[recipient] = reply
            if len(refused) == len(transaction.recipients):
                raise RecipientsRefused(error.text, code=reply.code, stage="rcpt", refused=refused)
        return refused

    def _mail_options(self, transaction: Transaction) -> list[bytes]:
        options = list(transaction.mail_options)
        names = {option.partition("=")[0].upper() for option in options}
        if transaction.needs_utf8 and "SMTPUTF8" not in names:
            options.append("SMTPUTF8")
        if transaction.needs_utf8 and not self.client.supports_extension("smtputf8"):
            raise Smtputf8Error(
                "An address has non-ASCII characters before its @, and the mail server does not "
                "support them (SMTPUTF8).",
                stage="mail",
            )
        if self.client.supports_extension("size") and "SIZE" not in names:
            options.insert(0, f"SIZE={len(transaction.data)}")
        return [option.encode() for option in options]

    def _sender_error(self, transaction: Transaction, reply: Reply) -> MailError:
        default = self.settings.default_sender
        is_default = default is not None and mailbox(default).spec == transaction.sender
        if not is_default or transaction.mail_options or transaction.needs_utf8:
            return reply_error("mail", reply)
        login = self.settings.username if self.mechanism else None
        return default_sender_error(reply, transaction.sender, login=login)

    async def _transfer(self, transaction: Transaction) -> tuple[int, str]:
        """Write the message, dot-stuffed (RFC 5321 4.5.2), and return the reply to its end."""
        if self.client.protocol is None:
            raise SMTPServerDisconnected("Connection lost")
        stuffed = transaction.data.replace(b"\r\n.", b"\r\n..")
        end = b".\r\n" if stuffed.endswith(b"\r\n") else b"\r\n.\r\n"
        self.client.protocol.write(stuffed + end)
        self.progress.in_doubt = True
        if transaction.after_data is not None:
            transaction.after_data()
        return await self.client.protocol.read_response(timeout=None)


def _closed_while_idle(error: MailError, stage: str | None) -> bool:
    """Whether the server had closed an idle connection, so that no message was begun."""
    if stage == "reset":
        return not isinstance(error, ReplyTimeout)
    return stage == "mail" and isinstance(error, (ConnectionLost, ServiceUnavailable))


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
