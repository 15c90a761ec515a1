"""Tasks that are cancelled while they open a connection to SQLite do not pile up files and threads."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import text

from app.database import Database
from tests.inspection import connections_in_use, database_of

STEPS = 40
MOST_FILES = 3
"""SQLite closes a file when the last cursor is freed, which a cancelled task's traceback delays."""


def open_files(path: str) -> int:
    """Return how many descriptors of this process lead to `path`."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(descriptor))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return links.count(path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("block", [Database.reading, Database.writing])
async def test_connections_do_not_pile_up(app: Quart, block: object) -> None:
    path = database_of(app).url.database
    assert path is not None
    threads = threading.active_count()

    async def connect(database: Database) -> None:
        async with block(database) as connection:  # type: ignore[operator]
            await connection.execute(text("SELECT 1"))

    for steps in range(STEPS):
        database = Database(database_of(app).url)
        task = asyncio.create_task(connect(database))
        for _ in range(steps):  # of the loop: cancelled at another place of the opening each time
            await asyncio.sleep(0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert connections_in_use(database.reader) == connections_in_use(database.writer) == 0
        await database.dispose()
    async with asyncio.timeout(5):
        while threading.active_count() > threads:
            await asyncio.sleep(0.01)
    gc.collect()
    assert open_files(path) <= MOST_FILES
