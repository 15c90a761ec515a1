"""The `microblog` command: run to its end, or as a site in a process of its own, as `microblog dev` starts it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from app.cli.main import main
from tests.visitor import TOKEN

MICROBLOG = str(Path(sys.executable).with_name("microblog"))
ADDRESS = re.compile(r"http://[\w.:\[\]]+")
START_SECONDS = 30


Done = subprocess.CompletedProcess[str]


def microblog(*arguments: str, stdin: str = "", **environment: str) -> Done:
    """Run the command in this process, which spares a second of imports, and return what came of it."""
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
    if isinstance(status, str):  # Python prints it, and says 1
        err.write(f"{status}\n")
        status = 1
    return Done(arguments, int(str(status or 0)), out.getvalue(), err.getvalue())


def microblog_process(*arguments: str, stdin: str = "", **environment: str) -> Done:
    """Run the command as operators do."""
    return subprocess.run(
        [MICROBLOG, *arguments],
        input=stdin, capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | environment,
    )  # fmt: skip


@dataclass
class Site:
    """A running site: its address and its process."""

    url: str
    process: asyncio.subprocess.Process
    greeting: str


@asynccontextmanager
async def running_site(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[Site]:
    """Start `microblog dev` in `folder` on a free port; stop it with SIGTERM at the end."""
    process = await asyncio.create_subprocess_exec(
        MICROBLOG, "dev", "--port", "0", *arguments,
        cwd=folder, env=os.environ | environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        greeting = await asyncio.wait_for(_read_greeting(process), START_SECONDS)
        address = ADDRESS.search(greeting)
        assert address is not None, greeting
        yield Site(address[0], process, greeting)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), START_SECONDS)


async def _read_greeting(process: asyncio.subprocess.Process) -> str:
    """Return what the command prints until it serves."""
    assert process.stdout is not None
    lines = []
    while line := (await process.stdout.readline()).decode():
        lines.append(line)
        if "Ctrl-C" in line:
            return "".join(lines)
    raise AssertionError(f"microblog dev ended with {await process.wait()}: {''.join(lines)}")


class Browser:
    """A client of a running site that keeps cookies and sends forms, by the standard library."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener = build_opener(HTTPCookieProcessor())

    async def submit(self, path: str, **fields: str) -> str:
        """Open the form at `path`, send it with `fields`, follow the redirect, return the page."""
        page = await self.get(path)
        fields["csrf_token"] = TOKEN.findall(page)[-1]
        return await self._open(path, urlencode(fields).encode())

    async def get(self, path: str) -> str:
        """Return the page at `path`."""
        return await self._open(path, None)

    async def _open(self, path: str, body: bytes | None) -> str:
        def read() -> str:
            with self.opener.open(self.url + path, body, timeout=10) as response:
                return str(response.read(), "utf-8")

        return await asyncio.to_thread(read)
