"""SMTP servers for the tests: aiosmtpd for what is well, a scripted one for what is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class Catcher:
    """An aiosmtpd handler that keeps what arrives; ``refuse`` names recipients it refuses."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.refuse: dict[str, str] = {}
        self.port = 0
        self.logins: list[tuple[str, Any]] = []

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        self.sessions.append(session)
        return f"250 OK number {len(self.envelopes)}"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins.append((mechanism, data))
        return AuthResult(success=data.password == b"right", handled=False)

    @property
    def contents(self) -> list[bytes]:
        contents = []
        for envelope in self.envelopes:
            assert isinstance(envelope.content, bytes)
            contents.append(envelope.content)
        return contents

    def parsed(self, index: int = -1) -> EmailMessage:
        message = BytesParser(policy=default).parsebytes(self.contents[index])
        assert isinstance(message, EmailMessage)
        return message


@asynccontextmanager
async def catching(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False, **smtp: Any
) -> AsyncIterator[Catcher]:
    """Run aiosmtpd on this loop; ``tls``: for STARTTLS, or ``implicit``ly from the first byte."""
    catcher = Catcher()
    loop = asyncio.get_running_loop()
    if auth:
        smtp |= {"authenticator": catcher.authenticate, "auth_require_tls": False}
    if tls is not None and not implicit:
        smtp["tls_context"] = tls
    smtp = dict[str, Any](hostname="test", enable_SMTPUTF8=True, loop=loop) | smtp
    server = await loop.create_server(
        lambda: SMTP(catcher, **smtp), "127.0.0.1", 0, ssl=tls if implicit else None
    )
    catcher.port = server.sockets[0].getsockname()[1]
    try:
        yield catcher
    finally:
        server.close()


GOOD = {
    "greeting": "220 ready",
    "ehlo": "250-scripted\r\n250-SIZE 1000000\r\n250-AUTH PLAIN LOGIN XOAUTH2\r\n250 8BITMIME",
    "helo": "250 scripted",
    "auth": "235 welcome",
    "mail": "250 sender ok",
    "rcpt": "250 recipient ok",
    "data": "354 go ahead",
    "dot": "250 taken",
    "rset": "250 reset",
    "noop": "250 ok",
    "quit": "221 bye",
    "starttls": "220 go ahead",
}


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ScriptedServer:
    """A server that follows ``script``: stage to an answer, or to a list of answers in turn.

    An answer is a reply ("451 later"), "hang", "drip" (a byte now and then, never a line), "drop"
    or "garbage". What is not in the script is answered well; the last of a list is repeated.
    """

    def __init__(self, script: dict[str, str | list[str]] | None = None) -> None:
        self.script = dict(script or {})
        self.port = 0
        self.connections = 0
        self.open = 0
        self.commands: list[str] = []
        self.messages: list[bytes] = []
        self.at_dot = asyncio.Semaphore(0)  # released for every message that came in whole
        self.hanging = asyncio.Semaphore(0)  # released for every answer that does not come
        self.closed = asyncio.Semaphore(0)  # released for every connection that ended
        self._tasks: set[asyncio.Task[None]] = set()

    def _answer(self, stage: str) -> str:
        planned = self.script.get(stage, GOOD.get(stage, "500 what?"))
        if isinstance(planned, str):
            return planned
        return planned.pop(0) if len(planned) > 1 else planned[0]

    async def _say(self, streams: Streams, stage: str) -> bool:
        """Answer at ``stage``; False when the connection is to end."""
        reader, writer = streams
        answer = self._answer(stage)
        if answer == "hang":
            self.hanging.release()
            await reader.read()  # until the client goes
        while answer == "drip" and not reader.at_eof():
            writer.write(b"2")
            await asyncio.sleep(0.02)
        if answer in {"hang", "drip", "drop"}:
            return False
        writer.write(b"\x00\xff nonsense\r\n" if answer == "garbage" else answer.encode() + b"\r\n")
        await writer.drain()
        return not answer.startswith("421")

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        going = await self._say((reader, writer), "greeting")
        while going and (line := await reader.readline()):
            command = line.decode().strip()
            self.commands.append(command)
            verb = command.split(" ")[0].lower()
            going = await self._say((reader, writer), verb) and verb != "quit"
            if verb == "data" and going and "data" not in self.script:
                going = await self._take(reader, writer)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
        self.at_dot.release()
        return await self._say((reader, writer), "dot")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self.open -= 1
            self.closed.release()
            self._tasks.discard(task)

    @asynccontextmanager
    async def running(
        self, host: str = "127.0.0.1", port: int = 0
    ) -> AsyncIterator[ScriptedServer]:
        server = await asyncio.start_server(self._serve, host, port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
