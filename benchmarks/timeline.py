"""The database's time for a timeline among 1,000,000 posts by 20,000 people.

    python -m benchmarks.timeline [--database postgresql://...] [--plan]

Readers follow nobody, five quiet people, thirty of any kind, and a thousand who are busy, quiet, or have
been silent for years; each looks at the first page, at one in the middle and at one far back. The database
is an empty one to fill, by default an SQLite file that is deleted afterwards. `--plan` shows the query plan.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from app import create_app
from app.accounts.models import User, followers
from app.database import Database, reading
from app.migrations import run as migrations
from app.posts import queries
from app.posts.models import Post
from app.web.paging import PageCursor

PEOPLE, POSTS, BATCH = 20_000, 1_000_000, 20_000
BUSY, SILENT, QUIET = range(1, 1001), range(1001, 2001), range(19_001, 19_901)
EVERYDAY = range(2001, 19_001)
PER_PERSON = ((BUSY, 500, 1.0), (SILENT, 100, 0.2), (EVERYDAY, 23, 1.0), (range(19_001, 20_001), 9, 1.0))
START, SPAN = datetime(2021, 1, 1, tzinfo=UTC), timedelta(days=5 * 365)
SIZE, REPEATS = 25, 15
MIDDLE, FAR = START + SPAN / 2, START + SPAN / 30
LIMIT_MS = 5.0


def readers(chance: random.Random) -> dict[str, tuple[int, list[int]]]:
    """Return the readers' labels, their ids, and whom they follow."""
    anybody = range(1, 19_901)
    follows = {
        "nobody": [],
        "five quiet": chance.sample(QUIET, 5),
        "thirty": chance.sample(anybody, 30),
        "thousand busy": list(BUSY),
        "thousand quiet": chance.sample([*EVERYDAY, *QUIET], 1000),
        "thousand silent": list(SILENT),
    }
    return {name: (PEOPLE - place, people) for place, (name, people) in enumerate(follows.items())}


async def fill(session: AsyncSession) -> None:
    """Store people, their posts in order of time, and what the readers and everybody else follow."""
    chance = random.Random(1)
    for start in range(1, PEOPLE + 1, BATCH):
        await session.execute(
            insert(User),
            [
                {"username": f"user{number}", "email": f"user{number}@example.com"}
                for number in range(start, start + BATCH)
            ],
        )
    posts = sorted(
        (chance.random() * part, number)
        for people, count, part in PER_PERSON
        for number in people
        for _ in range(count)
    )
    for start in range(0, POSTS, BATCH):
        rows = [
            {"body": "something to say " * 4, "timestamp": START + SPAN * when, "user_id": number}
            for when, number in posts[start : start + BATCH]
        ]
        await session.execute(insert(Post), rows)
    pairs = {(one, other) for one, people in readers(chance).values() for other in people}
    pairs |= {(one, chance.randrange(1, 19_901)) for one in EVERYDAY for _ in range(20)}
    rows = [{"follower_id": one, "followed_id": other} for one, other in pairs]
    for start in range(0, len(rows), BATCH):
        await session.execute(insert(followers), rows[start : start + BATCH])


async def _fill_and_settle(database: Database) -> None:
    """Fill the database, without the pages' short timeouts, and vacuum it."""
    engine = create_async_engine(database.url)
    async with AsyncSession(engine) as session, session.begin():
        await fill(session)
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


async def measure(arguments: argparse.Namespace, url: str) -> None:
    """Fill the database and print a line for each reader."""
    app = create_app({"TESTING": True, "DATABASE_URL": url})
    database: Database = app.extensions["database"]
    await migrations.upgrade(database)
    async with app.app_context():
        await _fill_and_settle(database)
        watch = Stopwatch(database)
        print(f"{'milliseconds':18}{'first':>9}{'middle':>9}{'far back':>9}   (limit {LIMIT_MS:.0f})")
        for name, (reader, _) in readers(random.Random(1)).items():
            cells = [f"{await _median(watch, reader, cursor):9.2f}" for cursor in _cursors()]
            print(f"{name:18}{''.join(cells)}")
        if arguments.plan:
            await explain(watch)
        await database.dispose()


def _cursors() -> Iterator[PageCursor | None]:
    yield None
    for moment in (MIDDLE, FAR):
        yield PageCursor(f"{moment:%Y-%m-%d %H:%M:%S.%f}", 0)


async def _median(watch: Stopwatch, reader: int, cursor: PageCursor | None) -> float:
    times = []
    for _ in range(REPEATS):
        await queries.timeline(reader, cursor, SIZE)
        times.append(watch.taken())
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


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--database", help="an empty database to fill")
    parser.add_argument("--plan", action="store_true", help="show the query plans too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or f"sqlite:///{Path(folder) / 'large.db'}"
        asyncio.run(measure(arguments, url))


if __name__ == "__main__":
    main()
