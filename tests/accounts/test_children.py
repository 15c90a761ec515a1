"""The hashing processes end with the site, and nobody has to read about it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from app.accounts import children
from tests.processes import MICROBLOG, PATIENCE_SECONDS

STOPS = 3


@pytest.mark.slow
async def test_a_stopping_site_warns_of_nothing(tmp_path: Path) -> None:
    said = await asyncio.gather(*(stopped(tmp_path / str(number)) for number in range(STOPS)))
    assert said == [(0, "")] * STOPS


async def stopped(folder: Path) -> tuple[int | None, str]:
    """Start `microblog dev` in `folder`, stop it, and return its status and what it logged as worth a look."""
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        MICROBLOG, "dev", "--port", "0",
        cwd=folder, env=os.environ | {"PASSWORD_PROCESSES": "4"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        await process.stdout.readuntil(b"Ctrl-C")
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
    lines = said.decode().splitlines()
    return process.returncode, "\n".join(line for line in lines if " INFO " not in line)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on asyncio watches by itself")
async def test_a_child_that_somebody_else_has_reaped_is_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="asyncio")
    policy = asyncio.get_event_loop_policy()
    before = policy.get_child_watcher()
    children.watch_without_threads()
    try:
        process = await asyncio.create_subprocess_exec("sleep", "60")
        other = await asyncio.create_subprocess_exec("sleep", "60")
        for each in (process, other):
            each.kill()
        os.waitpid(process.pid, 0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await other.wait() == -signal.SIGKILL
            assert await process.wait() == 255
        policy.get_child_watcher().close()
    finally:
        policy.set_child_watcher(before)
    assert caplog.messages == []
