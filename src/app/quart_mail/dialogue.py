"""The SMTP dialogue: commands and replies over one connection."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar, cast

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from .classify import connection_error, reply_error, unexpected_reply
from .errors import Reply, printable
from .settings import MailSettings

_T = TypeVar("_T")
_log = logging.getLogger(f"{__package__}.session")  # the name that docs/mail.md promises

SUCCESS, CONTINUE = 2, 3  # first digits of reply codes, RFC 5321 4.2.1

# Dialogue._is_out_of_sync reads SMTPProtocol._buffer; pyproject.toml bounds the version.
if "_buffer" not in SMTPProtocol.__init__.__code__.co_names:
    raise ImportError(
        "aiosmtplib.protocol.SMTPProtocol no longer keeps unread input in _buffer; quart_mail needs "
        "it to notice replies that do not belong to its command. Install aiosmtplib 5."
    )


@dataclass(slots=True)
class Progress:
    """How far an attempt has got: its ``stage``, and whether the final dot may have been sent."""

    stage: str | None = None
    in_doubt: bool = False


class Client(SMTP):
    """aiosmtplib's client, except that ``close`` does not wait.

    Its own ``close`` lets the transport flush and shut TLS down, which takes half a minute when the
    server does not answer.
    """

    was_connected = False  # tells an error at the greeting from one while connecting

    def close(self) -> None:
        """Close the connection at once, without QUIT."""
        self.was_connected = self.was_connected or self.protocol is not None
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        super().close()


async def wait_closed() -> None:
    """Let the event loop close the sockets of connections that were just closed."""
    for _ in range(3):
        await asyncio.sleep(0)


class Dialogue:
    """Commands and replies, redacted and checked; an unexpected error closes the connection."""

    def __init__(self, settings: MailSettings) -> None:
        self.settings = settings
        self.client = Client()  # replaced by ``connect.connect``
        self.progress = Progress()
        # Never stored, shown or logged, even if the server repeats them
        self.secrets: list[str] = []
        self.greeting = ""
        self.mechanism: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connection is open, as far as this side knows."""
        return self.client.is_connected

    async def command(self, stage: str, *words: bytes, timeout: float, expected: int = SUCCESS) -> Reply:
        """Send a command and return its reply; raise a MailError unless its first digit is ``expected``."""
        reply = await self.request(stage, *words, timeout=timeout)
        if reply.code // 100 != expected:
            raise reply_error(stage, reply)
        return reply

    async def request(self, stage: str, *words: bytes, timeout: float) -> Reply:
        """Send a command and return its reply, whatever its code."""
        if self.settings.debug:
            _log.info("-> %s", printable(b" ".join(words).decode("utf-8", "replace")))
        step = self.client.execute_command(*words, timeout=None)
        return self.parse_reply(stage, await self.wait_for(stage, step, timeout))

    def parse_reply(self, stage: str, response: tuple[int, str]) -> Reply:
        """Return a reply that can be stored and shown; raises NonsenseReply if it is not valid."""
        code, text = response
        reply = Reply(code, self.redact(text))
        in_sync = not self._is_out_of_sync()
        if not in_sync or not 200 <= code < 600:
            self.client.close()
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
            self.client.close()
            if stage == "connect" and self.client.was_connected:
                stage = self.progress.stage = "greeting"
            server = f"{self.settings.server}:{self.settings.port}"
            in_doubt = self.progress.in_doubt
            if isinstance(error, SMTPResponseException):  # it quotes what the server sent
                error.message = self.redact(error.message)
                error.args = (error.code, error.message)
            raise connection_error(stage, error, server=server, in_doubt=in_doubt) from error
        if self.settings.debug:
            text = " ".join(map(str, cast(tuple[int, str], result)))
            _log.info("<- [%s] %s", stage, self.redact(text))
        return result

    def quit(self) -> None:
        """Send QUIT and close without waiting for the reply, on which nothing depends."""
        if self.client.is_connected and self.client.protocol is not None:
            try:
                self.client.protocol.write(b"QUIT\r\n")
            except SMTPServerDisconnected:
                pass
            else:
                cast(asyncio.Transport, self.client.transport).close()
        self.client.close()
