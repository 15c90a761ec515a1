"""SQLite locked, read-only or on a full disk; connections that are cancelled while they open."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import text

from app.database import Database
from tests.clients import Visitor
from tests.faults.test_postgres import is_the_503_page, timed
from tests.inspection import connections_in_use, database_of
from tests.processes import Process, program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.database_limits,
    pytest.mark.parametrize("database_kind", ["sqlite"]),
]


HOLDER = """
import signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
signal.pause()
"""


NOBODY = 65534


@pytest.fixture
def path(config: dict[str, Any]) -> Path:
    return Path(config["DATABASE_URL"].removeprefix("sqlite:///"))


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[Process]:
    """Let another process hold the write lock until it is terminated, or the block ends."""
    async with program(sys.executable, "-c", HOLDER, str(path)) as process:
        await process.line("locked")
        yield process


async def test_while_another_process_holds_the_lock_reads_work_and_writes_get_503(
    app: Quart, susan: Visitor, path: Path
) -> None:
    token = (await susan.get("/index")).token
    async with locked(path):
        writes = [
            asyncio.create_task(timed(susan.post("/index", post=f"n{n}", csrf_token=token))) for n in range(8)
        ]
        assert (await susan.get("/index")).status == 200
        assert (await susan.get("/readyz")).status == 200
        pages = await asyncio.gather(*writes)
        assert [is_the_503_page(page) for page in pages] == [True] * 8
        assert "Logged in as" in pages[0].text
    assert (await susan.post("/index", post="back", csrf_token=token)).status == 302


async def test_a_write_waits_for_a_lock_that_is_soon_released(app: Quart, susan: Visitor, path: Path) -> None:
    token = (await susan.get("/index")).token
    async with locked(path) as holder:
        write = asyncio.create_task(susan.post("/index", post="waited", csrf_token=token))
        await asyncio.wait([write], timeout=0.8)
        assert not write.done()
        await holder.terminate()
        assert (await timed(write)).status == 302
    assert "waited" in (await susan.get("/index")).text


@pytest.fixture
def read_only(path: Path) -> Iterator[None]:
    """Take the right to write the file from this process; somebody else has it open."""
    other = sqlite3.connect(path)
    other.execute("SELECT count(*) FROM user").fetchall()
    os.chmod(path.parent, 0o555)
    for file in path.parent.glob(f"{path.name}*"):
        os.chmod(file, 0o444)
    is_root = os.geteuid() == 0
    folders = [folder for folder in path.parents if not os.access(folder, os.X_OK) or is_root]
    modes = {folder: folder.stat().st_mode for folder in folders[1:] if folder != Path("/")}
    for folder, mode in modes.items():
        os.chmod(folder, mode | 0o055)
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for folder, mode in modes.items():
            os.chmod(folder, mode)
        os.chmod(path.parent, 0o755)
        other.close()


async def test_on_a_read_only_file_reads_work_and_writes_get_503(
    app: Quart, susan: Visitor, request: pytest.FixtureRequest
) -> None:
    token = (await susan.get("/index")).token
    await database_of(app).dispose()
    request.getfixturevalue("read_only")
    page = await susan.get("/index")
    assert page.status == 200
    assert "Logged in as" in page.text
    page = await timed(susan.post("/index", post="lost", csrf_token=token))
    assert is_the_503_page(page)
    assert (await susan.get("/readyz")).status == 200
    await database_of(app).dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk takes more rights than these tests have")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class TestFullDisk:
    @pytest.fixture
    def config(self, config: dict[str, Any], small_disk: Path) -> dict[str, Any]:
        path = small_disk / "microblog.db"
        shutil.copyfile(config["DATABASE_URL"].removeprefix("sqlite:///"), path)
        return config | {"DATABASE_URL": f"sqlite:///{path}"}

    async def test_nothing_acknowledged_is_lost_and_the_file_is_intact(
        self, app: Quart, susan: Visitor, path: Path
    ) -> None:
        token = (await susan.get("/index")).token
        ballast = path.with_name("ballast")
        free = shutil.disk_usage(path.parent).free
        ballast.write_bytes(b"\0" * (free - 150_000))
        said = []
        for number in range(400):
            page = await timed(susan.post("/index", post=f"{number:04} " + "x" * 130, csrf_token=token))
            if page.status != 302:
                break
            said.append(f"{number:04}")
        assert is_the_503_page(page)
        assert said
        assert (await susan.get("/index")).status == 200
        assert (await susan.get("/readyz")).status == 200
        ballast.unlink()
        assert (await susan.post("/index", post="back", csrf_token=token)).status == 302
        with sqlite3.connect(path) as other:
            stored = {body[:4] for (body,) in other.execute("SELECT body FROM post")}
            assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        other.close()
        assert set(said) | {"back"} <= stored


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
@pytest.mark.parametrize("block", [Database.reading, Database.writing])
async def test_cancelled_connections_leak_no_files_and_threads(app: Quart, block: object) -> None:
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
    async with asyncio.timeout(60):
        while threading.active_count() > threads:
            await asyncio.sleep(0.01)
    gc.collect()
    assert open_files(path) <= MOST_FILES
