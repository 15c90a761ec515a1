"""An SMTP server that accepts every mail, keeps it in a Mailbox, and delivers none."""

import asyncio
from typing import Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from app.dev.mailbox import MAX_BYTES, Mailbox

HOST = "127.0.0.1"


class Catcher:
    """Catch mail on `port` (0: any free port) of this machine for the duration of an `async with` block.

    Runs on the current event loop. Accepts every login, so that mail settings with a login work, too.
    Raises OSError if the port is in use.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.port = port
        self.mailbox = Mailbox()
        self._server: asyncio.Server | None = None
        self._connections: list[SMTP] = []

    async def start(self) -> None:
        """Start listening and set `port` to the actual port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, HOST, self.port)
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

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Store the mail (a hook of aiosmtpd)."""
        content = envelope.original_content or b""
        mail = self.mailbox.add(envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        return f"250 2.0.0 Caught as mail {mail.id}"

    def _connection(self) -> SMTP:
        connection = SMTP(
            self,
            data_size_limit=MAX_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",  # the default looks it up in DNS, which blocks
            auth_require_tls=False,
            authenticator=lambda *login: AuthResult(success=True),
            loop=asyncio.get_running_loop(),
        )
        self._connections = [open_ for open_ in self._connections if open_.transport is not None]
        self._connections.append(connection)
        return connection
