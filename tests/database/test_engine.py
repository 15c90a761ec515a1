"""The blocks `reading()` and `writing()`: what is committed, what is rolled back, and which errors they raise."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select, text

from app.accounts.models import User
from app.database import Database, DatabaseUnavailable, reading, shielded, writing
from app.migrations import run as migrations
from tests.inspection import connections_in_use, database_of

Block = Callable[[], AbstractAsyncContextManager[Any]]


def susan() -> User:
    return User(username="susan", email="susan@example.com")


async def count_users() -> int:
    async with reading() as connection:
        return (await connection.execute(select(func.count()).select_from(User))).scalar_one()


async def test_writing_commits_at_the_end_of_the_block(app: Quart) -> None:
    async with writing() as session:
        session.add(susan())
        assert await count_users() == 0
    assert await count_users() == 1


async def test_an_error_rolls_the_block_back(app: Quart) -> None:
    with pytest.raises(ZeroDivisionError):
        async with writing() as session:
            session.add(susan())
            await session.flush()
            raise ZeroDivisionError
    assert await count_users() == 0


@pytest.mark.parametrize("kind", [BrokenPipeError, PermissionError, TimeoutError])
async def test_the_callers_own_errors_leave_a_block_unchanged(app: Quart, kind: type[OSError]) -> None:
    async with app.test_request_context("/"):
        for block in (reading, writing):
            with pytest.raises(kind):
                async with block():
                    raise kind


@pytest.mark.database_limits
@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_an_absent_or_hanging_server_is_unavailable(app: Quart, unused_tcp_port: int) -> None:
    absent = Database(f"postgresql+asyncpg://nobody@127.0.0.1:{unused_tcp_port}/x")
    for block in (absent.reading, absent.writing):
        with pytest.raises(DatabaseUnavailable):
            async with block() as connection:
                await connection.execute(text("SELECT 1"))
    await absent.dispose()

    async def sleep(block: Block) -> None:
        with pytest.raises(DatabaseUnavailable):
            async with block() as connection:
                await connection.execute(text("SELECT pg_sleep(60)"))

    async def linger(block: Block) -> None:
        with pytest.raises(DatabaseUnavailable):
            async with app.test_request_context("/"), block():
                await asyncio.Event().wait()

    await asyncio.gather(*(wait(block) for wait in (sleep, linger) for block in (reading, writing)))


@pytest.mark.parametrize("refusal", ["", "57P03", "53300", "3D000"])
async def test_a_server_that_refuses_connections_is_unavailable(refusal: str) -> None:
    """PostgreSQL hangs up, is starting up, has too many connections, or has no such database."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"N")  # no TLS
        fields = b"".join(b"%c%s\0" % (key, value) for key, value in {
            ord("S"): b"FATAL", ord("C"): refusal.encode(), ord("M"): b"not now"}.items())  # fmt: skip
        if refusal and await reader.read(1):
            writer.write(b"E" + (len(fields) + 5).to_bytes(4) + fields + b"\0")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        database = Database(f"postgresql+asyncpg://nobody:secret@127.0.0.1:{port}/x")
        for block in (database.reading, database.writing):
            with pytest.raises(DatabaseUnavailable):
                async with block() as connection:
                    await connection.execute(text("SELECT 1"))
        await database.dispose()


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_first_connections_opened_at_the_same_time_wait_for_each_other(
    app: Quart, sqlite_template: Path, tmp_path: Path
) -> None:
    async def ask(block: Block, sql: str) -> None:
        async with block() as connection:
            await connection.execute(text(sql))

    for number in range(30):
        path = shutil.copyfile(sqlite_template, tmp_path / f"{number}.db")  # not in WAL mode yet
        databases = [Database(f"sqlite+aiosqlite:///{path}") for _ in range(4)]
        reads = [ask(each.reading, "SELECT * FROM post") for each in databases]
        writes = [ask(each.writing, "UPDATE outbox SET attempts = 0") for each in databases]
        await asyncio.gather(*reads, *writes)
        for each in databases:
            await each.dispose()


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_only_an_upgrade_makes_a_file(app: Quart, tmp_path: Path) -> None:
    absent = Database(f"sqlite+aiosqlite:///{tmp_path}/none/x.db")
    for block in (absent.reading, absent.writing):
        with pytest.raises(DatabaseUnavailable, match=r"there is no database at .*db upgrade"):
            async with block() as connection:
                await connection.execute(text("SELECT 1"))
    await absent.dispose()
    assert not (tmp_path / "none").exists()
    await migrations.upgrade(absent)
    async with absent.reading() as connection:
        await connection.execute(text("SELECT * FROM post"))
    await absent.dispose()


async def test_an_inner_block_of_the_same_task_joins_the_outer(app: Quart) -> None:
    with pytest.raises(ZeroDivisionError):
        async with writing() as outer:
            async with writing() as inner:
                assert inner is outer
                inner.add(susan())
            raise ZeroDivisionError
    assert await count_users() == 0


async def test_another_task_has_a_transaction_of_its_own(app: Quart) -> None:
    async def add() -> None:
        async with writing() as session:
            session.add(susan())

    async with writing():
        other = asyncio.create_task(add())
    await other
    assert await count_users() == 1


async def test_a_cancelled_writer_stores_nothing_and_returns_its_connection(app: Quart) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with writing() as session:
            session.add(susan())
            await session.flush()
            inside.set()
            await asyncio.Event().wait()

    for _ in range(12):
        task = asyncio.create_task(write())
        await inside.wait()
        inside.clear()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await count_users() == 0
    assert connections_in_use(database_of(app).writer) == 0


async def test_shielded_work_finishes_before_the_cancellation_is_raised() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    task = asyncio.create_task(shielded(work()))
    await begun.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
