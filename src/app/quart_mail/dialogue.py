"""Commands and replies over one SMTP connection, each within its time."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from aiosmtplib import SMTP, SMTPException, SMTPServerDisconnected

from .classify import breakdown, nonsense, refusal
from .reply import Reply, printable
from .settings import MailState

BeforeData = Callable[[], Awaitable[object]]
_T = TypeVar("_T")
_log = logging.getLogger(__name__)

DONE, GO_ON = 2, 3  # first digits of reply codes, by which RFC 5321 4.2.1 has a client go


@dataclass(slots=True)
class Progress:
    """How far an attempt has come: its ``stage``, and whether the final dot may have gone out."""

    stage: str | None = None
    in_doubt: bool = False


@dataclass(slots=True)
class Job:
    """One message on its way: envelope, bytes, ESMTP parameters; timeouts are seconds a reply."""

    sender: str
    recipients: list[str]
    data: bytes
    mail_options: list[str]
    rcpt_options: list[str]
    timeout: float
    data_timeout: float
    before_data: BeforeData | None = None
    progress: Progress = field(default_factory=Progress)

    @property
    def needs_utf8(self) -> bool:
        """Say whether an address needs SMTPUTF8; nothing else puts bytes over 127 in ``data``."""
        return not (
            self.sender.isascii() and all(map(str.isascii, self.recipients)) and self.data.isascii()
        )


class Client(SMTP):
    """aiosmtplib's client, closing at once.

    Its own ``close`` lets a transport flush and say goodbye in TLS, which a mute server can make
    last half a minute.
    """

    was_connected = False  # what an error at the greeting is told from one at connecting by

    def close(self) -> None:
        """Close the connection without waiting for anything."""
        self.was_connected = self.was_connected or self.protocol is not None
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()
        super().close()


async def sockets_closed() -> None:
    """Let the loop close the sockets of connections that were just closed: its next rounds do."""
    for _ in range(3):
        await asyncio.sleep(0)


class Dialogue:
    """A connection's commands and replies; any trouble closes the connection."""

    def __init__(self, state: MailState, client: Client, progress: Progress) -> None:
        self.state = state
        self.client = client
        self.progress = progress
        self.hidden = state.secrets()  # never stored, shown or logged, even if the server says it

    async def command(self, stage: str, *words: bytes, timeout: float, wanted: int = DONE) -> Reply:
        """Send a command and return its reply; raises a MailError unless it begins by ``wanted``."""
        return self.expect(stage, await self.request(stage, *words, timeout=timeout), wanted)

    async def request(self, stage: str, *words: bytes, timeout: float) -> Reply:
        """Send a command and return its reply, whatever its code."""
        if self.state.debug:
            _log.info("-> %s", printable(b" ".join(words).decode("utf-8", "replace")))
        response = await self.ask(stage, self.client.execute_command(*words, timeout=None), timeout)
        return self.received(stage, response)

    def received(self, stage: str, response: tuple[int, str]) -> Reply:
        """Return a reply fit to be stored and shown; raises NonsenseReply for what is none."""
        code, text = response
        reply = Reply(code, self.shown(text))
        in_step = not self._is_out_of_step()
        if not in_step or not 200 <= code < 600:
            self.abort()
        # The answer to the final dot counts even if, say, a "421 enough" comes along with it.
        if not 200 <= code < 600 or not (in_step or stage == "dot"):
            raise nonsense(stage, reply)
        return reply

    def shown(self, text: str) -> str:
        """Return what the server said, printable and without secrets."""
        for secret in self.hidden:
            text = text.replace(secret, "***")
        return printable(text)

    def _is_out_of_step(self) -> bool:
        """Say whether the server said more than it was asked.

        aiosmtplib would take the rest for the answer to the next command, at worst a "250" for a
        message that was never taken; it has no public way to look.
        """
        return bool(getattr(self.client.protocol, "_buffer", b""))

    def expect(self, stage: str, reply: Reply, wanted: int = DONE) -> Reply:
        """Return the reply when its code is of the wanted kind; raises its MailError otherwise."""
        if reply.code // 100 != wanted:
            raise refusal(stage, reply)
        return reply

    async def ask(self, stage: str, step: Awaitable[_T], timeout: float) -> _T:
        """Await one step of the dialogue; what goes wrong closes and raises a MailError.

        ``timeout``: seconds. asyncio.timeout, unlike the wait_for that aiosmtplib would use, never
        swallows a cancellation on Python 3.11.
        """
        self.progress.stage = stage
        try:
            async with asyncio.timeout(timeout):
                outcome = await step
        except (OSError, SMTPException, ssl.SSLError, UnicodeError) as error:
            self.abort()
            if stage == "connect" and self.client.was_connected:
                stage = self.progress.stage = "greeting"
            raise breakdown(
                stage,
                error,
                server=f"{self.state.server}:{self.state.port}",
                in_doubt=self.progress.in_doubt,
            ) from error
        if self.state.debug:
            said = " ".join(map(str, cast(tuple[int, str], outcome)))
            _log.info("<- [%s] %s", stage, self.shown(said))
        return outcome

    def abort(self) -> None:
        """Close at once, saying nothing."""
        self.client.close()

    def quit(self) -> None:
        """Say QUIT and close without awaiting the answer, which nothing depends on."""
        if self.client.is_connected and self.client.protocol is not None:
            try:
                self.client.protocol.write(b"QUIT\r\n")
            except SMTPServerDisconnected:
                pass
            else:
                cast(asyncio.Transport, self.client.transport).close()
        self.abort()
