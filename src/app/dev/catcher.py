"""An SMTP server that accepts every mail, keeps it in a Mailbox, and delivers none."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from app.dev.mailbox import MAX_BYTES, Mailbox

HOST = "127.0.0.1"


class Catcher:
    """Catch mail on `host` and `port` (0: any free port) for the duration of an `async with` block.

    Runs on the current event loop. Accepts every login, so that mail settings with a login work, too.
    Raises OSError if the port is in use.
    """

    def __init__(self, *, port: int = 0, host: str = HOST, mailbox: Mailbox | None = None) -> None:
        self.host = host
        self.port = port
        self.mailbox = Mailbox() if mailbox is None else mailbox
        self._server: asyncio.Server | None = None
        self._connections: list[SMTP] = []

    async def start(self) -> None:
        """Start listening and set `port` to the actual port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, close all connections, and wait until they are closed."""
        if self._server is None:
            return
        self._server.close()
        # aiosmtpd offers no public way to wait for the end of a connection.
        tasks = [connection._handler_coroutine for connection in self._connections]
        for connection in self._connections:
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        self._connections.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.stop()

    def _connection(self) -> SMTP:
        connection = SMTP(
            _Handler(self.mailbox),
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",  # the default looks it up in DNS, which blocks
            auth_require_tls=False,
            authenticator=_accept_login,
            loop=asyncio.get_running_loop(),
        )
        self._connections = [open_ for open_ in self._connections if open_.transport is not None]
        self._connections.append(connection)
        return connection


class _Handler:
    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Store the mail (a hook of aiosmtpd)."""
        content = envelope.original_content or b""
        mail = self._mailbox.add(envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        return f"250 2.0.0 Caught as mail {mail.id}"


def _accept_login(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
) -> AuthResult:
    return AuthResult(success=True)
