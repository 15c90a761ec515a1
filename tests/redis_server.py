"""A Redis server of one's own, on a socket file: started, stopped and flushed at will."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from types import TracebackType


class RedisServer:
    """`async with RedisServer() as server` runs one; `start` and `stop` may be called in between."""

    def __init__(self) -> None:
        self.binary = shutil.which("redis-server")
        self.directory = Path(tempfile.mkdtemp(prefix="redis"))
        self.socket = self.directory / "socket"
        self.process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    async def start(self) -> None:
        assert self.binary is not None
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "--port", "0", "--unixsocket", str(self.socket), "--save", "",
            "--dir", str(self.directory), stdout=DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(10):
            while await self._say("PING") != b"+PONG":
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.socket.unlink(missing_ok=True)
            self.process = None

    async def flush(self) -> None:
        assert await self._say("FLUSHALL") == b"+OK"

    async def _say(self, command: str) -> bytes:
        """Send one command and return the first line of the answer, b"" when there is none."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return b""
        writer.write(command.encode() + b"\r\n")
        answer = (await reader.readline()).strip()
        writer.close()
        await writer.wait_closed()
        return answer

    async def __aenter__(self) -> RedisServer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
