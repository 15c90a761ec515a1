"""The processes of `celery -A app.worker`: a worker, or beat."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

COMMAND = (sys.executable, "-m", "celery", "-A", "app.worker")
BASE = {
    "TESTING": "1",
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_SUPPRESS_SEND": "0",
    "PASSWORD_PROCESSES": "0",
}
GRACE_SECONDS = 30


@asynccontextmanager
async def running(settings: Mapping[str, str], *words: str) -> AsyncIterator[None]:
    """Run `celery` with `words` on a site with `settings`; end it and its children."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *words, "--loglevel", "WARNING"),
        env={**os.environ, **BASE, **settings},
        stdout=DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
