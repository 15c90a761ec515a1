"""An SMTP session: commands and replies over one connection, one message after the other."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from aiosmtplib import SMTP, SMTPException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from .address import mailbox
from .classify import connection_error, default_sender_error, reply_error, unexpected_reply
from .errors import (
    MailError,
    RecipientsRefused,
    RefusedError,
    Reply,
    Smtputf8Error,
    printable,
)
from .settings import MailSettings

BeforeData = Callable[[], Awaitable[object]]
_T = TypeVar("_T")
_log = logging.getLogger(__name__)

SUCCESS, CONTINUE = 2, 3  # first digits of reply codes, RFC 5321 4.2.1

# Session._is_out_of_sync reads SMTPProtocol._buffer; pyproject.toml bounds the version.
if "_buffer" not in SMTPProtocol.__init__.__code__.co_names:
    raise ImportError(
        "aiosmtplib.protocol.SMTPProtocol no longer keeps unread input in _buffer; quart_mail needs "
        "it to notice replies that do not belong to its command. Install aiosmtplib 5."
    )


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
class Progress:
    """How far an attempt has got: its ``stage``, and whether the final dot may have been sent."""

    stage: str | None = None
    in_doubt: bool = False


@dataclass(slots=True)
class Transaction:
    """A mail transaction (RFC 5321 3.3): envelope, message and options; timeouts are seconds per reply.

    ``after_data`` is called when the message has been written, its final dot included.
    """

    sender: str
    recipients: list[str]
    data: bytes
    mail_options: list[str]
    rcpt_options: list[str]
    timeout: float
    data_timeout: float
    before_data: BeforeData | None = None
    after_data: Callable[[], None] | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def needs_utf8(self) -> bool:
        """Whether an address needs SMTPUTF8; nothing else puts bytes over 127 into ``data``."""
        return not (
            self.sender.isascii() and all(map(str.isascii, self.recipients)) and self.data.isascii()
        )


class Client(SMTP):
    """aiosmtplib's client, except that ``close`` does not wait.

    Its own ``close`` lets the transport flush and shut TLS down, which takes half a minute when the
    server does not answer.
    """

    was_connected = False  # tells an error at the greeting from one while connecting

    def close(self) -> None:
        """Close the connection at once."""
        self.was_connected = self.was_connected or self.protocol is not None
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        super().close()


async def wait_closed() -> None:
    """Let the event loop close the sockets of connections that were just closed."""
    for _ in range(3):
        await asyncio.sleep(0)


class Session:
    """An SMTP connection, opened by ``connect.open_session``; unexpected errors close it."""

    def __init__(self, state: MailSettings, client: Client, progress: Progress) -> None:
        self.state = state
        self.client = client
        self.progress = progress
        self.secrets = (
            state.secrets()
        )  # never stored, shown or logged, even if the server repeats them
        self.messages = 0
        self.greeting = ""
        self.mechanism: str | None = None
        self._needs_reset = False  # the server may have an unfinished transaction

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self.client.is_connected

    @property
    def is_spent(self) -> bool:
        """Whether ``MAIL_MAX_EMAILS`` messages were sent over it."""
        return self.state.max_emails is not None and self.messages >= self.state.max_emails

    async def send(self, transaction: Transaction) -> SendResult:
        """Send one message; close the connection if its state is uncertain afterwards.

        Raises MailError, or what ``transaction.before_data`` raises, unchanged.
        """
        self.progress = transaction.progress
        try:
            return await self._run(transaction)
        except (RefusedError, Smtputf8Error):
            raise
        except BaseException as error:
            if self.progress.stage != "before_data" or not isinstance(error, Exception):
                self.abort()
            raise

    async def _run(self, transaction: Transaction) -> SendResult:
        timeout = transaction.timeout
        options = self._mail_options(transaction)
        if self._needs_reset:
            await self.command("reset", b"RSET", timeout=timeout)
        self._needs_reset = True
        sender = f"FROM:<{transaction.sender}>".encode()
        reply = await self.request("mail", b"MAIL", sender, *options, timeout=timeout)
        if reply.code // 100 != SUCCESS:
            raise self._sender_error(transaction, reply)
        self.messages += 1
        refused = await self._send_recipients(transaction)
        if transaction.before_data is not None:
            self.progress.stage = "before_data"
            await transaction.before_data()
        await self.command("data", b"DATA", timeout=timeout, expected=CONTINUE)
        transfer = self._transfer(transaction)
        response = await self.wait_for("dot", transfer, transaction.data_timeout)
        reply = self.parse_reply("dot", response)
        self._needs_reset = False
        self.progress.in_doubt = False
        self._expect("dot", reply, SUCCESS)
        return SendResult(reply.code, reply.text, refused)

    def _sender_error(self, transaction: Transaction, reply: Reply) -> MailError:
        default = self.state.default_sender
        is_default = default is not None and mailbox(default).spec == transaction.sender
        if not is_default or transaction.mail_options or transaction.needs_utf8:
            return reply_error("mail", reply)
        login = self.state.username if self.mechanism else None
        return default_sender_error(reply, transaction.sender, login=login)

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

    async def _send_recipients(self, transaction: Transaction) -> dict[str, Reply]:
        """Send RCPT TO for each recipient; return those refused, or raise if all were."""
        refused: dict[str, Reply] = {}
        options = [option.encode() for option in transaction.rcpt_options]
        for recipient in transaction.recipients:
            words = (b"RCPT", f"TO:<{recipient}>".encode(), *options)
            reply = await self.request("rcpt", *words, timeout=transaction.timeout)
            if reply.code // 100 == SUCCESS:
                continue
            error = reply_error("rcpt", reply)
            if not isinstance(error, RecipientsRefused):
                raise error
            refused[recipient] = reply
            if len(refused) == len(transaction.recipients):
                raise RecipientsRefused(error.text, code=reply.code, refused=refused)
        return refused

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

    async def command(
        self, stage: str, *words: bytes, timeout: float, expected: int = SUCCESS
    ) -> Reply:
        """Send a command and return its reply; raise a MailError unless its first digit is ``expected``."""
        reply = await self.request(stage, *words, timeout=timeout)
        self._expect(stage, reply, expected)
        return reply

    async def request(self, stage: str, *words: bytes, timeout: float) -> Reply:
        """Send a command and return its reply, whatever its code."""
        if self.state.debug:
            _log.info("-> %s", printable(b" ".join(words).decode("utf-8", "replace")))
        step = self.client.execute_command(*words, timeout=None)
        return self.parse_reply(stage, await self.wait_for(stage, step, timeout))

    def _expect(self, stage: str, reply: Reply, expected: int) -> None:
        if reply.code // 100 != expected:
            raise reply_error(stage, reply)

    def parse_reply(self, stage: str, response: tuple[int, str]) -> Reply:
        """Return a reply that can be stored and shown; raises NonsenseReply if it is not valid."""
        code, text = response
        reply = Reply(code, self.redact(text))
        in_sync = not self._is_out_of_sync()
        if not in_sync or not 200 <= code < 600:
            self.abort()
        # The reply to the final dot counts even if, say, a "421 closing" follows it at once.
        if not 200 <= code < 600 or not (in_sync or stage == "dot"):
            raise unexpected_reply(stage, reply)
        return reply

    def redact(self, text: str) -> str:
        """Return the server's text on one printable line, without secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return printable(text)

    def _is_out_of_sync(self) -> bool:
        """Whether the server sent more than the reply to the last command.

        aiosmtplib would take the rest as the reply to the next command: at worst as the "250" for a
        message that the server never accepted. It has no public way to look.
        """
        return self.client.protocol is not None and bool(self.client.protocol._buffer)

    async def wait_for(self, stage: str, step: Awaitable[_T], timeout: float) -> _T:
        """Await one step of the dialogue for ``timeout`` seconds; close and raise MailError on failure.

        Unlike the ``asyncio.wait_for`` in aiosmtplib, ``asyncio.timeout`` never swallows a
        cancellation on Python 3.11.
        """
        self.progress.stage = stage
        try:
            async with asyncio.timeout(timeout):
                result = await step
        except (OSError, SMTPException, ssl.SSLError, UnicodeError) as error:
            self.abort()
            if stage == "connect" and self.client.was_connected:
                stage = self.progress.stage = "greeting"
            raise connection_error(
                stage,
                error,
                server=f"{self.state.server}:{self.state.port}",
                in_doubt=self.progress.in_doubt,
            ) from error
        if self.state.debug:
            text = " ".join(map(str, cast(tuple[int, str], result)))
            _log.info("<- [%s] %s", stage, self.redact(text))
        return result

    def abort(self) -> None:
        """Close at once, without QUIT."""
        self.client.close()

    def quit(self) -> None:
        """Send QUIT and close without waiting for the reply, on which nothing depends."""
        if self.client.is_connected and self.client.protocol is not None:
            try:
                self.client.protocol.write(b"QUIT\r\n")
            except SMTPServerDisconnected:
                pass
            else:
                cast(asyncio.Transport, self.client.transport).close()
        self.abort()
