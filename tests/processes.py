"""Start processes: the `microblog` command, a development site, a production site, or any program.

Sites are forked from a process that has imported everything; `program()` and `microblog_process()` start one anew.

All but `microblog()`, which stays in this process, and `run()` end with their block; what they print is in
`lines`, and each leads a process group of its own, for `os.killpg`.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import app
from app.cli.main import main

MICROBLOG = str(Path(sys.executable).with_name("microblog"))
HYPERCORN = str(Path(sys.executable).with_name("hypercorn"))
ROOT = Path(app.__file__).parents[2]
TOML = ROOT / "hypercorn.toml"
PATIENCE_SECONDS = 60
KEEP_ALIVE_SECONDS = 2
GRACEFUL_SECONDS = 12
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

FORKING = multiprocessing.get_context("forkserver")
"""Forks processes from one that has imported the site, which saves each of them a second."""
FORKING.set_forkserver_preload(["tests.preload"])

Result = subprocess.CompletedProcess[str]


def microblog(*arguments: str, stdin: str = "", **environment: str) -> Result:
    """Run the command in this process, which saves a second of imports."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, environment),
        patch.object(sys, "argv", ["microblog", *arguments]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            status: object = None
        except SystemExit as end:
            status = end.code
    if isinstance(status, str):  # Python prints it and exits with 1
        err.write(f"{status}\n")
        status = 1
    return Result(arguments, int(str(status or 0)), out.getvalue(), err.getvalue())


def microblog_process(*arguments: str, stdin: str = "", **environment: str) -> Result:
    """Run the command as operators do."""
    return run(MICROBLOG, *arguments, stdin=stdin, **environment)


def run(*command: str, stdin: str = "", **environment: str) -> Result:
    """Run any command to its end, for at most a minute."""
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | environment,
    )  # fmt: skip


class Process:
    """A running process: the lines it has printed, and its status once it has ended."""

    def __init__(self, pid: int, output: asyncio.StreamReader | None, end: Awaitable[int]) -> None:
        self.pid = pid
        self.lines: list[str] = []
        self.status: int | None = None  # negative: the signal that killed it
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read(output))
        self._ending = asyncio.create_task(self._wait(end))

    async def _read(self, output: asyncio.StreamReader | None) -> None:
        if output is not None:
            async for line in output:
                self.lines.append(line.decode())
                self._changed.set()
        self._changed.set()

    async def _wait(self, end: Awaitable[int]) -> None:
        self.status = await end

    async def line(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches `pattern`; fail if the output ends without one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                self._changed.clear()
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                assert not self._reading.done(), f"no {pattern!r} in: {''.join(self.lines)}"
                await self._changed.wait()

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def freeze(self) -> None:
        """Stop the process with SIGSTOP, until a SIGCONT; return when it has stopped."""
        self.signal(signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2][0] != "T":
                await asyncio.sleep(0.01)

    async def end(self) -> int:
        """Wait for the process to end by itself, and return its status."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.shield(self._ending)
            await asyncio.shield(self._reading)
        assert self.status is not None
        return self.status

    async def terminate(self) -> int:
        """Ask the process to end with SIGTERM, and return its status."""
        self.signal(signal.SIGTERM)
        return await self.end()

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    def children(self) -> list[int]:
        """Return the ids of its child processes."""
        return [int(n) for n in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def connections(self) -> int:
        """Return the number of its open sockets."""
        return sum(_is_socket(link) for link in Path(f"/proc/{self.pid}/fd").iterdir())


def _is_socket(link: Path) -> bool:
    try:
        return os.readlink(link).startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


P = TypeVar("P", bound=Process)


class Site(Process):
    """A running site."""

    url = ""
    port = 0

    @property
    def greeting(self) -> str:
        """What `microblog dev` prints before it serves."""
        return "".join(self.lines)


@asynccontextmanager
async def program(
    *command: str, folder: Path | None = None, read: str = "stdout", **environment: str
) -> AsyncIterator[Process]:
    """Run a command in `folder` until the end of the block; `read` its "stdout", "stderr" or "both"."""
    out, err = {"stdout": (PIPE, None), "stderr": (DEVNULL, PIPE), "both": (PIPE, STDOUT)}[read]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=os.environ | environment, stdout=out, stderr=err,
        start_new_session=True,
    )  # fmt: skip
    process = Process(child.pid, child.stdout or child.stderr, child.wait())
    try:
        yield process
    finally:
        try:
            await process.terminate()
        finally:
            process.signal(signal.SIGKILL)


@asynccontextmanager
async def dev_site(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[Site]:
    """Start `microblog dev` in `folder` on a free port."""
    command = ("app.cli.main:main", "dev", "--port", "0", *arguments)
    async with forked_program(Site, *command, folder=folder, read="stdout", **environment) as site:
        await site.line("Ctrl-C")
        found = re.search(r"http://[\w.:\[\]]+:(\d+)", site.greeting)
        assert found is not None, site.greeting
        site.url, site.port = found[0], int(found[1])
        yield site


@asynccontextmanager
async def served_site(
    folder: Path,
    database_url: str,
    keep_alive: int = KEEP_ALIVE_SECONDS,
    graceful_timeout: int = GRACEFUL_SECONDS,
    /,
    **settings: str,
) -> AsyncIterator[Site]:
    """Serve a migrated database by Hypercorn with the shipped hypercorn.toml.

    `keep_alive`: seconds an idle connection is kept. `graceful_timeout`: seconds until Hypercorn aborts requests.
    """
    command = (
        "hypercorn.__main__:main", "--config", str(TOML), "--bind", "127.0.0.1:0",
        "--keep-alive", str(keep_alive), "--graceful-timeout", str(graceful_timeout), "app:create_app()",
    )  # fmt: skip
    environment = PRODUCTION | {"DATABASE_URL": database_url} | settings
    async with forked_program(Site, *command, folder=folder, read="stderr", **environment) as site:
        found = await site.line(r"Running on (http://127\.0\.0\.1:(\d+))")
        site.url, site.port = found[1], int(found[2])
        yield site


@asynccontextmanager
async def forked_program(
    kind: type[P], function: str, *arguments: str, folder: Path | None = None, read: str, **environment: str
) -> AsyncIterator[P]:
    """Do the same as `program` in a forked process: call `function`, such as "app.cli.main:main", there."""
    plan = (function, arguments, str(folder or Path.cwd()), os.environ | environment, read)
    async with forked(kind, run_program, *plan) as process:
        try:
            yield process
        finally:
            await process.terminate()


def run_program(
    function: str, arguments: tuple[str, ...], folder: str, environment: dict[str, str], read: str,
    output: Connection,
) -> None:  # fmt: skip
    """Become the program that `function` is the entry point of."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        if read in (name, "both"):
            os.dup2(output.fileno(), descriptor)
        elif name == "stdout":
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    output.close()
    sys.argv = [function, *arguments]
    module, _, name = function.partition(":")
    sys.exit(getattr(import_module(module), name)())


@asynccontextmanager
async def forked(kind: type[P], run: Callable[..., None], *args: Any) -> AsyncIterator[P]:
    """Call `run(*args, output)` in a forked process, and kill it at the end of the block.

    `output`: the end of a pipe whose text becomes `lines`.
    """
    loop = asyncio.get_running_loop()
    with patch.dict(os.environ, PYTHONPATH=str(ROOT)):
        forkserver.ensure_running()
    ours, theirs = FORKING.Pipe(duplex=False)
    child = FORKING.Process(target=run, args=(*args, theirs))
    child.start()
    theirs.close()
    output = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), ours)
    ended = asyncio.Event()
    loop.add_reader(child.sentinel, ended.set)

    async def end() -> int:
        await ended.wait()
        loop.remove_reader(child.sentinel)
        child.join()
        assert child.exitcode is not None
        return child.exitcode

    process = kind(child.pid or 0, output, end())
    try:
        yield process
    finally:
        process.signal(signal.SIGKILL)
        await process.end()
        transport.close()
