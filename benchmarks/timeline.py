"""The database's time for a timeline among 1,000,000 posts by 20,000 people.

    python -m benchmarks.timeline [--database postgresql://...] [--plan]

Readers follow nobody, five quiet people, thirty of any kind, and a thousand who are busy, quiet, or have
been silent for years; each looks at the first page, at one in the middle and at one far back. The database
is an empty one to fill, by default an SQLite file that is deleted afterwards. `--plan` shows the query plan.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import followers
from app.database import Database
from app.posts import queries
from app.posts.models import Post
from app.web.paging import PageCursor
from benchmarks.million import BATCH, Stopwatch, filling, run

PEOPLE, POSTS = 20_000, 1_000_000
BUSY, SILENT, QUIET = range(1, 1001), range(1001, 2001), range(19_001, 19_901)
EVERYDAY = range(2001, 19_001)
PER_PERSON = ((BUSY, 500, 1.0), (SILENT, 100, 0.2), (EVERYDAY, 23, 1.0), (range(19_001, 20_001), 9, 1.0))
START, SPAN = datetime(2021, 1, 1, tzinfo=UTC), timedelta(days=5 * 365)
SIZE = 25
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


async def fill(connection: AsyncConnection) -> None:
    """Store posts in order of time, and what the readers and everybody else follow."""
    chance = random.Random(1)
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
        await connection.execute(insert(Post), rows)
    pairs = {(one, other) for one, people in readers(chance).values() for other in people}
    pairs |= {(one, chance.randrange(1, 19_901)) for one in EVERYDAY for _ in range(20)}
    rows = [{"follower_id": one, "followed_id": other} for one, other in pairs]
    for start in range(0, len(rows), BATCH):
        await connection.execute(insert(followers), rows[start : start + BATCH])


async def measure(arguments: argparse.Namespace, database: Database, watch: Stopwatch) -> None:
    """Fill the database and print a line for each reader."""
    async with filling(database, PEOPLE) as connection:
        await fill(connection)
    print(f"{'milliseconds':18}{'first':>9}{'middle':>9}{'far back':>9}   (limit {LIMIT_MS:.0f})")
    for name, (reader, _) in readers(random.Random(1)).items():
        calls = [partial(queries.timeline, reader, cursor, SIZE) for cursor in _cursors()]
        cells = [f"{await watch.median(call):9.2f}" for call in calls]
        print(f"{name:18}{''.join(cells)}")


def _cursors() -> Iterator[PageCursor | None]:
    yield None
    for moment in (MIDDLE, FAR):
        yield PageCursor(f"{moment:%Y-%m-%d %H:%M:%S.%f}", 0)


if __name__ == "__main__":
    run(argparse.ArgumentParser(description=__doc__.partition("\n")[0]), measure)
