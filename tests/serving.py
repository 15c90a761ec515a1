"""The site as an operator runs it: hypercorn with the shipped hypercorn.toml, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import app

TOML = Path(app.__file__).parents[2] / "hypercorn.toml"
HYPERCORN = str(Path(sys.executable).with_name("hypercorn"))
PORT = re.compile(r"Running on http://127\.0\.0\.1:(\d+)")
START_SECONDS = 30
KEEP_ALIVE_SECONDS = 2
PRODUCTION = {
    "SECRET_KEY": "kQ2v9mXr7TgYpL4wZ8sBnD1fHcJ6uEaR",
    "BASE_URL": "http://site.example",
    "TRUSTED_HOSTS": "127.0.0.1",
    "MAIL_DEFAULT_SENDER": "noreply@site.example",
    "ADMINS": "root@site.example",
    "MAIL_COURIER": "none",
    "RATELIMIT_ENABLED": "0",
    "PASSWORD_HASH_METHOD": "pbkdf2:sha256:1000",
}


@dataclass
class Served:
    """A running server: its port, its process, and the lines of its log so far."""

    port: int
    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    def memory(self) -> int:
        """Return the bytes the process holds resident."""
        return self._status("VmRSS") * 1024

    def children(self) -> list[int]:
        """Return the ids of the processes it started."""
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def connections(self) -> int:
        """Return how many sockets it has open."""
        folder = Path(f"/proc/{self.process.pid}/fd")
        return sum(_is_socket(link) for link in folder.iterdir())

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition(f"{name}:")[2].split()[0])


def _is_socket(link: Path) -> bool:
    try:
        return os.readlink(link).startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


@asynccontextmanager
async def serving(
    folder: Path, database_url: str, keep_alive: int = KEEP_ALIVE_SECONDS, /, **settings: str
) -> AsyncIterator[Served]:
    """Serve in `folder` from a migrated database; stop with SIGTERM, and see that it ends well.

    `keep_alive`: seconds an idle connection is kept.
    """
    environment = os.environ | PRODUCTION | {"DATABASE_URL": database_url} | settings
    process = await asyncio.create_subprocess_exec(
        HYPERCORN, "--config", str(TOML), "--bind", "127.0.0.1:0",
        "--keep-alive", str(keep_alive), "app:create_app()",
        cwd=folder, env=environment, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    served = Served(0, process)
    running = asyncio.Event()
    reading = asyncio.create_task(_read(served, running))
    try:
        async with asyncio.timeout(START_SECONDS):
            await running.wait()
        assert served.port, served.log
        yield served
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(START_SECONDS):
                await process.wait()
                await reading
        finally:
            if process.returncode is None:
                process.kill()


async def _read(served: Served, running: asyncio.Event) -> None:
    assert served.process.stderr is not None
    async for line in served.process.stderr:
        served.log.append(line.decode())
        found = PORT.search(served.log[-1])
        if found:
            served.port = int(found[1])
            running.set()
    running.set()


@dataclass
class Reply:
    """What came back over a connection: the status (0 for nothing), the head and the body."""

    status: int
    head: str
    body: str


async def talk(port: int, *pieces: bytes, seconds: float = 30) -> Reply:
    """Send `pieces` over a connection of their own, and return what came until the server closed it."""
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sending = asyncio.create_task(_send(writer, pieces))
        received = await _receive(reader)
        sending.cancel()
        await asyncio.wait([sending])
        writer.close()
    head, _, body = received.decode("utf-8", "replace").partition("\r\n\r\n")
    return Reply(int(head.split()[1]) if head.startswith("HTTP/") else 0, head, body)


async def _send(writer: asyncio.StreamWriter, pieces: tuple[bytes, ...]) -> None:
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass


async def _receive(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while data := await reader.read(65536):
            received += data
    except ConnectionError:
        pass
    return received
