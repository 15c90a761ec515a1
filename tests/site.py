"""A real site in a process of its own, as `microblog dev` starts it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

MICROBLOG = str(Path(sys.executable).with_name("microblog"))
ADDRESS = re.compile(r"http://[\w.:]+")
START_SECONDS = 30


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
        yield Site(ADDRESS.search(greeting)[0], process, greeting)  # type: ignore[index]
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
