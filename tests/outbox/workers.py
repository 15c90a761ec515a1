"""Starting, reading and ending processes of `tests.outbox.process`, forked from one that has imported the site."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Any

from tests.forking import FORKING
from tests.outbox import process

PATIENCE_SECONDS = 30


class Worker:
    """One process, and the ids of the mails it promised to deliver."""

    def __init__(self, process: BaseProcess, reader: asyncio.StreamReader) -> None:
        self.process = process
        self.promised: list[int] = []
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._notice_end)
        self._reading = asyncio.create_task(self._read(reader))

    def _notice_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self.process.sentinel)
        self.ended.set()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        async for line in reader:
            match line.decode().split():
                case ["ready"]:
                    self.ready.set()
                case ["posted", *ids]:
                    self.promised += map(int, ids)

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended; the loop may not have heard of that yet."""
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.process.pid or 0, number)

    async def end(self) -> int | None:
        """Wait for the process to end by itself; return its status, or minus the signal that killed it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.ended.wait()
            await self._reading
        self.process.join()
        return self.process.exitcode

    async def terminate(self) -> int | None:
        """Ask the process to end, and wait for it."""
        self.signal(signal.SIGTERM)
        return await self.end()


@asynccontextmanager
async def worker(config: dict[str, Any], **plan: Any) -> AsyncIterator[Worker]:
    """Run a process until the end of the block; wait until it is ready."""
    words, told = FORKING.Pipe(duplex=False)
    child = FORKING.Process(target=process.run, args=({"config": config, **plan}, told))
    child.start()
    told.close()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), words
    )
    started = Worker(child, reader)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await started.ready.wait()
        yield started
    finally:
        started.signal(signal.SIGKILL)
        await started.end()
        transport.close()
