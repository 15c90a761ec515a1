"""A database with a million posts, and the time that its statements take, for `timeline` and `search`."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app import create_app
from app.accounts.models import User
from app.database import Database, reading
from app.migrations import run as migrations

BATCH = 10_000
REPEATS = 15

Measure = Callable[[argparse.Namespace, Database, "Stopwatch"], Awaitable[None]]


def run(parser: argparse.ArgumentParser, measure: Measure) -> None:
    """Read the arguments, and call `measure` with an empty database that it fills."""
    parser.add_argument("--database", help="an empty database to fill")
    parser.add_argument("--plan", action="store_true", help="show the query plans too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or f"sqlite:///{Path(folder) / 'large.db'}"
        asyncio.run(_run(arguments, url, measure))


async def _run(arguments: argparse.Namespace, url: str, measure: Measure) -> None:
    app = create_app({"TESTING": True, "DATABASE_URL": url})
    database: Database = app.extensions["database"]
    await migrations.upgrade(database)
    async with app.app_context():
        watch = Stopwatch(database)
        await measure(arguments, database, watch)
        if arguments.plan:
            await explain(watch)
        await database.dispose()


@asynccontextmanager
async def filling(database: Database, people: int) -> AsyncIterator[AsyncConnection]:
    """Store people with the ids from 1 on, and what the block stores, without the pages' short timeouts."""
    # With asynchronous commits, VACUUM could not yet mark the pages as visible to all.
    options = {} if database.is_sqlite else {"server_settings": {"synchronous_commit": "on"}}
    engine = create_async_engine(database.url, connect_args=options)
    async with engine.begin() as connection:
        names = [f"user{number}" for number in range(1, people + 1)]
        rows = [{"username": name, "email": f"{name}@example.com"} for name in names]
        for start in range(0, people, BATCH):
            await connection.execute(insert(User), rows[start : start + BATCH])
        yield connection
    if not database.is_sqlite:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(text("VACUUM ANALYZE"))
    await engine.dispose()


class Stopwatch:
    """Times each exchange with the driver: on SQLite the processor time of the connection's own thread."""

    def __init__(self, database: Database) -> None:
        self.milliseconds: list[float] = []
        self.real = database.raw_reads.read
        database.raw_reads.read = self.read  # type: ignore[method-assign]
        self.sqlite = database.is_sqlite
        self.statements: list[tuple[str, Any]] = []

    async def read(self, sql: str, arguments: Any) -> Any:
        """Do what `RawReadPool.read` does, and note how long it takes."""
        self.statements.append((sql, arguments))
        if not self.sqlite:
            begun = time.perf_counter()
            rows = await self.real(sql, arguments)
            self.milliseconds.append((time.perf_counter() - begun) * 1e3)
            return rows
        async with reading() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection

            def exchange() -> Any:
                begun = time.thread_time()
                rows = driver._conn.execute(sql, arguments).fetchall()
                self.milliseconds.append((time.thread_time() - begun) * 1e3)
                return rows

            return await driver._execute(exchange)

    def taken(self) -> float:
        """Return the milliseconds since the last call."""
        total, self.milliseconds = sum(self.milliseconds), []
        return total

    async def median(self, call: Callable[[], Awaitable[object]]) -> float:
        """Return the median of the milliseconds that `call` takes, of REPEATS times."""
        times = []
        for _ in range(REPEATS):
            await call()
            times.append(self.taken())
        return statistics.median(times)


async def explain(watch: Stopwatch) -> None:
    """Print the plan of each statement that was timed."""
    shown: set[str] = set()
    how = "EXPLAIN QUERY PLAN " if watch.sqlite else "EXPLAIN ANALYZE "
    for sql, arguments in reversed(watch.statements):
        if sql not in shown:
            shown.add(sql)
            print(f"\n{sql}\n")
            for row in await watch.real(how + sql, arguments):
                print("   ", row[-1])
