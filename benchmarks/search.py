"""The database's time for a search among 1,000,000 posts.

    python -m benchmarks.search [--database postgresql://...] [--posts 1000000] [--plan]

The words looked for are common, rare, new, long gone or missing. The last lines are the worst that can be
typed: words of half of all posts that never stand together, and a word of every old post and no newer one.
The database is an empty one to fill, by default an SQLite file that is deleted afterwards. SQLite's times are
processor times. `--plan` shows the query plans.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database
from app.posts.models import ADD_TO_SEARCH, Post
from app.posts.words import words
from app.search import queries
from app.web.paging import PageCursor
from benchmarks.million import BATCH, Stopwatch, filling, run

PEOPLE, POSTS = 1000, 1_000_000
VOCABULARY, WORDS_PER_POST = 30_000, 12
START = datetime(2021, 1, 1, tzinfo=UTC)
SIZE = 25

SEARCHES = {
    "common": "common",
    "two common": "common frequent",
    "rare": "rare",
    "rare and common": "rare common",
    "new": "new",
    "long gone": "gone",
    "missing": "missing",
    "missing, common": "missing common",
    "#tag": "#tag",
    "two signs": "你好",
    "one sign": "好",
}
WORST = {
    "never together": "odd even",
    "every old post": "ancient",
    "old, together": "ancient common",
    "ten common": "odd common frequent the0 the1 the2 the3 the4 the5 the6",
    "one old sign": "旧",
}
LIMITS = {"sqlite": (5, 40), "postgresql": (25, 250)}
"""Milliseconds: of SEARCHES and of WORST."""


def bodies(posts: int) -> Iterator[str]:
    """Yield the texts of posts, the oldest first."""
    chance = random.Random(1)
    for number in range(posts):
        parts = [f"the{int(chance.paretovariate(0.7)) % VOCABULARY}" for _ in range(WORDS_PER_POST)]
        parts.append("odd" if number % 2 else "even")
        if number % 5 == 0:
            parts.append("common")
        if number % 7 == 0:
            parts.append("frequent #tag")
        if number % 5000 == 0:
            parts.append("rare")
        if number < posts // 2:
            parts.append("ancient")
            parts.append(f"旧{chr(0x4E00 + chance.randrange(500))}")
        if number < posts // 3 and number % 20 == 0:
            parts.append("gone")
        if number >= posts - 1000:
            parts.append("new")
        if number % 10 == 0:
            parts.append(f"你好{chr(0x4E00 + chance.randrange(500))}")
        yield " ".join(parts)


async def fill(connection: AsyncConnection, posts: int) -> float:
    """Store posts and their index; return the index's seconds."""
    add, seconds = ADD_TO_SEARCH[connection.dialect.name], 0.0
    texts = bodies(posts)
    for start in range(0, posts, BATCH):
        rows = [
            {
                "id": id_,
                "body": body,
                "timestamp": START + timedelta(minutes=id_),
                "user_id": 1 + id_ % PEOPLE,
            }
            for id_, body in zip(range(start + 1, start + BATCH + 1), texts, strict=False)
        ]
        await connection.execute(insert(Post), rows)
        entries = [{"id": row["id"], "words": " ".join(words(str(row["body"])))} for row in rows]
        begun = time.perf_counter()
        await connection.execute(add, entries)
        seconds += time.perf_counter() - begun
    return seconds


async def measure(arguments: argparse.Namespace, database: Database, watch: Stopwatch) -> None:
    """Fill the database and print a line for each search."""
    posts = arguments.posts
    async with filling(database, PEOPLE) as connection:
        seconds = await fill(connection, posts)
    print(f"{posts:,} posts; indexing took {seconds / posts * 1e3:.2f} ms each, {BATCH:,} in a statement")
    usual, worst = LIMITS["sqlite" if database.is_sqlite else "postgresql"]
    print(f"{'milliseconds':18}{'first':>9}{'middle':>9}{'newer':>9}   (limits {usual} and {worst})")
    cursors = (None, PageCursor("", posts // 2), PageCursor("", posts // 2, newer=True))
    for name, query in (SEARCHES | WORST).items():
        sought = queries.query_words(query)
        cells = [
            f"{await watch.median(partial(queries.posts_with, sought, each, SIZE)):9.2f}" for each in cursors
        ]
        print(f"{name:18}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--posts", type=int, default=POSTS, help="how many posts to store")
    run(parser, measure)
