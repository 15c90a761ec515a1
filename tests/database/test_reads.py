"""Raw reads: typed rows, checked parameters, lost connections, waiting for a connection, and statement caches."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import Integer, bindparam, select, text
from sqlalchemy.exc import DBAPIError

from app.accounts.models import User
from app.database import DatabaseUnavailable, Query, fetch, reading, writing
from tests.factories import logged_in, make_user
from tests.inspection import connections_in_use, database_of

PERSON = Query(select(User.username, User.last_seen).where(User.id == bindparam("id", type_=Integer)))


SEEN = datetime(2026, 11, 20, 12, 0, 0, 5, tzinfo=UTC)


async def test_rows_are_tuples_of_python_values(app: Quart) -> None:
    person = await make_user("susan", last_seen=SEEN)
    assert await fetch(PERSON, id=person) == [("susan", SEEN)]
    assert await fetch(PERSON, id=person + 1) == []


@pytest.mark.parametrize(
    ("parameters", "names"), [({}, "id"), ({"id": 1, "ids": 2}, "ids"), ({"ids": 1}, "ids")]
)
async def test_missing_and_unknown_parameters_raise_at_once(
    app: Quart, parameters: dict[str, int], names: str
) -> None:
    with pytest.raises(TypeError, match=f"'{names}'"):
        await fetch(PERSON, **parameters)


async def test_a_wrong_statement_is_not_an_outage(app: Quart) -> None:
    await make_user("susan")
    async with writing() as session:
        await session.execute(text('ALTER TABLE "user" RENAME TO person'))
    with pytest.raises(DBAPIError):
        await fetch(PERSON, id=1)


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_connections_closed_by_the_server_are_replaced(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    assert (await susan.get("/index")).status == 200
    async with writing() as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    assert (await susan.get("/index")).status == 200


async def test_cancelled_reads_leak_no_connection(app: Quart) -> None:
    person = await make_user("susan", last_seen=SEEN)
    for _ in range(12):
        tasks = [asyncio.create_task(fetch(PERSON, id=person)) for _ in range(8)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await fetch(PERSON, id=person) == [("susan", SEEN)]
    pool = database_of(app).raw_reads
    assert not pool.free.locked()
    assert len(pool.idle) <= 5
    assert connections_in_use(database_of(app).reader) == len(pool.idle)


async def test_more_readers_than_connections_take_turns(app: Quart) -> None:
    person = await make_user("susan", last_seen=SEEN)
    results = await asyncio.gather(*(fetch(PERSON, id=person) for _ in range(60)))
    assert results == [[("susan", SEEN)]] * 60
    assert len(database_of(app).raw_reads.idle) <= 5


async def test_waiting_too_long_for_a_connection_is_unavailable(app: Quart) -> None:
    pool = database_of(app).raw_reads
    pool.wait = 0.01
    while not pool.free.locked():
        await pool.free.acquire()
    with pytest.raises(DatabaseUnavailable):
        await fetch(PERSON, id=1)


@pytest.mark.database_limits
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_locked_file_is_read_and_not_written(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    token = (await susan.get("/index")).token
    path = database_of(app).url.database
    assert path is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await susan.get("/index")).status == 200
        page = await susan.post("/index", post="never", csrf_token=token)
        assert page.status == 503
        assert page.response.headers["Retry-After"]
        other.execute("ROLLBACK")
    assert (await susan.post("/index", post="now", csrf_token=token)).location == "/index"


NAME = Query(select(User.username).where(User.id == bindparam("id", type_=Integer)))


@pytest.mark.parametrize("database_kind", ["postgresql"])
class TestNoPreparedStatements:
    """`prepared_statement_cache_size=0`, as PgBouncer needs it."""

    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        url = config["DATABASE_URL"]
        separator = "&" if "?" in url else "?"
        return config | {"DATABASE_URL": f"{url}{separator}prepared_statement_cache_size=0"}

    async def test_no_connection_keeps_a_statement(self, app: Quart) -> None:
        user = await make_user("susan")
        listed = Query(select(text("name")).select_from(text("pg_prepared_statements")))
        for _ in range(3):
            assert await fetch(NAME, id=user) == [("susan",)]
        assert await fetch(listed) == []
        for block in (reading, writing):
            async with block() as connection:
                for _ in range(3):
                    await connection.execute(select(User).where(User.id == user))
                names = await connection.execute(
                    text("SELECT name FROM pg_prepared_statements WHERE name <> ''")
                )
                assert names.all() == []


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_statements_are_prepared_by_default(app: Quart) -> None:
    user = await make_user("susan")
    await fetch(NAME, id=user)
    listed = Query(select(text("name")).select_from(text("pg_prepared_statements")))
    assert await fetch(listed) != []
