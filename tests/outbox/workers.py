"""Starting, reading and ending processes of `tests.outbox.process`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Worker:
    """One process, and the ids of the mails it promised to deliver."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.promised: list[int] = []
        self.ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            match line.decode().split():
                case ["ready"]:
                    self.ready.set()
                case ["posted", *ids]:
                    self.promised += map(int, ids)

    async def end(self) -> int:
        """Wait for the process to end by itself; return its status."""
        async with asyncio.timeout(30):
            status = await self.process.wait()
            await self._reader
        return status

    async def terminate(self) -> int:
        """Ask the process to end, and wait for it."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.end()


@asynccontextmanager
async def worker(config: dict[str, Any], **plan: Any) -> AsyncIterator[Worker]:
    """Run a process until the end of the block; wait until it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "tests.outbox.process",
        json.dumps({"config": config, **plan}),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    started = Worker(process)
    try:
        async with asyncio.timeout(30):
            await started.ready.wait()
        yield started
    finally:
        if process.returncode is None:
            process.kill()
        await started.end()
