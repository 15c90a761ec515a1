"""An SMTP server that takes everything and keeps nothing, in a process of its own.

Its own commands: ``XCOUNT`` answers how many messages came and how much CPU they cost.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

taken = 0


class Sink(asyncio.Protocol):
    """Answers every command at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""
        self.in_data = False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every whole line or message."""
        self.buffer += data
        while True:
            end = b"\r\n.\r\n" if self.in_data else b"\r\n"
            line, found, rest = self.buffer.partition(end)
            if not found:
                return
            self.buffer = rest
            self.answer(line)

    def answer(self, line: bytes) -> None:
        """Answer one line, or one message."""
        global taken
        verb = line[:4].upper()
        if self.in_data:
            taken += 1
            self.in_data = False
            self.transport.write(b"250 taken\r\n")
        elif verb == b"DATA":
            self.in_data = True
            self.transport.write(b"354 go\r\n")
        elif verb == b"EHLO":
            self.transport.write(b"250-sink\r\n250-SIZE 99999999\r\n250 8BITMIME\r\n")
        elif verb == b"QUIT":
            self.transport.write(b"221 bye\r\n")
            self.transport.close()
        elif verb == b"XCOU":
            self.transport.write(b"250 %d %f\r\n" % (taken, time.process_time()))
        else:
            self.transport.write(b"250 ok\r\n")


async def serve() -> None:
    """Serve until stdin is closed; print the port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gone = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), gone.set)
    await gone.wait()


@contextmanager
def running() -> Iterator[int]:
    """Run a sink in another process and yield its port."""
    command = [sys.executable, str(Path(__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
