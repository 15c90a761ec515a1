"""A mail server that accepts everything and keeps nothing, in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.smtp_server import SmtpServer


class Sink:
    """The running process: its port, and what it has accepted."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._commands = commands
        self._answers = answers
        self.port = int(answers.readline())

    def usage(self) -> tuple[int, float]:
        """Return the number of messages accepted so far, and the CPU seconds used."""
        self._commands.write("usage\n")
        self._commands.flush()
        count, seconds = self._answers.readline().split()
        return int(count), float(seconds)


@contextmanager
def running() -> Iterator[Sink]:
    """Run a sink until the block ends."""
    command = [sys.executable, "-m", "benchmarks.sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Sink(process.stdin, process.stdout)
        finally:
            process.stdin.close()


async def serve() -> None:
    """Print the port, then the usage for every line read, until stdin is closed."""
    ended = asyncio.Event()

    def answer() -> None:
        if sys.stdin.readline():
            print(server.accepted, time.process_time(), flush=True)
        else:
            ended.set()

    async with SmtpServer(keep=False) as server:
        print(server.port, flush=True)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), answer)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve())
