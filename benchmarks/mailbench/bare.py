"""The least that SMTP over asyncio can cost: a protocol that says its lines one after the other."""

from __future__ import annotations

import asyncio


class Bare(asyncio.Protocol):
    """Sends ``count`` times the same bytes, in step with the server and without any check."""

    def __init__(self, data: bytes, count: int) -> None:
        self.steps = (
            b"MAIL FROM:<noreply@example.com>\r\n",
            b"RCPT TO:<user@example.com>\r\n",
            b"DATA\r\n",
            data + b".\r\n" if data.endswith(b"\r\n") else data + b"\r\n.\r\n",
        )
        self.left = count * len(self.steps)
        self.at = 0
        self.greeted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take any answer as good and say the next line."""
        if not self.greeted:
            self.greeted = 1
            self.transport.write(b"HELO bare\r\n")
        elif self.left:
            self.transport.write(self.steps[self.at])
            self.at = (self.at + 1) % len(self.steps)
            self.left -= 1
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that all is sent."""
        self.done.set_result(None)


async def send_all(host: str, port: int, data: bytes, count: int, connections: int) -> None:
    """Send ``count`` messages over ``connections`` connections."""
    loop = asyncio.get_running_loop()
    share = count // connections
    waiting = []
    for _ in range(connections):
        _transport, protocol = await loop.create_connection(lambda: Bare(data, share), host, port)
        waiting.append(protocol.done)
    await asyncio.gather(*waiting)
