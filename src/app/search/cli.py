"""The command `microblog search`: compare the search index with the posts, and correct it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import click
from quart import Quart
from sqlalchemy import BigInteger, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cli.context import inside_app
from app.database import reading, writing
from app.posts.models import Post
from app.posts.words import words
from app.web.paging import MAX_ID

BATCH = 1000
REBUILD = "`microblog search rebuild`"
MISSING, DIFFERENT, SURPLUS = "missing", "different", "surplus"

READ = {
    "sqlite": "SELECT rowid, words FROM post_search WHERE rowid > :after AND rowid <= :last",
    "postgresql": "SELECT post_id, array_to_string(tsvector_to_array(words), ' ') FROM post_search"
    " WHERE post_id > :after AND post_id <= :last",
}
WRITE = {
    "sqlite": (
        "DELETE FROM post_search WHERE rowid = :id",
        "INSERT INTO post_search (rowid, words) SELECT id, :words FROM post WHERE id = :id AND body = :body",
    ),
    "postgresql": (
        "INSERT INTO post_search (post_id, words)"
        " SELECT id, array_to_tsvector(string_to_array(:words, ' ')) FROM post"
        " WHERE id = :id AND body = :body FOR KEY SHARE"
        " ON CONFLICT (post_id) DO UPDATE SET words = excluded.words",
    ),
}
"""What is run for each post whose entry is wrong. Nothing is added for one that was deleted meanwhile."""


class Batch(NamedTuple):
    """Some posts, compared with the index: how many, how many of each fault, and the rows for WRITE."""

    compared: int
    faults: Counter[str]
    corrections: list[dict[str, Any]]


@click.group()
def search() -> None:
    """Check and rebuild the search index."""


@search.command()
@inside_app
async def check(app: Quart) -> None:
    """Check that the index holds the words of every post.

    The status is 1 if it does not.
    """
    compared, faults = 0, Counter[str]()
    async for batch in _batches(app):
        compared += batch.compared
        faults += batch.faults
    if not faults:
        click.echo(f"The search index is right for {_number(compared, 'post')}.")
        return
    click.echo(
        f"The search index is wrong: {_number(faults[MISSING], 'post')} missing, "
        f"{_number(faults[DIFFERENT], 'post')} with other words, "
        f"{_number(faults[SURPLUS], 'entry', 'entries')} without a post. Run {REBUILD}."
    )
    raise click.exceptions.Exit(1)


@search.command()
@inside_app
async def rebuild(app: Quart) -> None:
    """Correct the index while the site serves.

    It can be stopped and run again: it writes only what is wrong.
    """
    async with reading() as connection:
        total = (await connection.execute(select(func.count()).select_from(Post))).scalar_one()
    corrected = 0
    with click.progressbar(length=total, label="Rebuilding the search index") as bar:
        async for batch in _batches(app):
            if batch.corrections:
                await _write(app, batch.corrections)
            corrected += len(batch.corrections)
            bar.update(batch.compared)
    click.echo(f"Compared {_number(total, 'post')} and wrote {_number(corrected, 'entry', 'entries')}.")


async def _batches(app: Quart) -> AsyncIterator[Batch]:
    """Compare all posts with the index, BATCH at a time."""
    read = text(READ[_dialect(app)]).bindparams(bindparam("last", type_=BigInteger))
    posts = select(Post.id, Post.body).order_by(Post.id).limit(BATCH)
    after = -1
    while after < MAX_ID:
        async with reading() as connection:
            rows = (await connection.execute(posts.where(Post.id > after))).all()
            last = rows[-1].id if len(rows) == BATCH else MAX_ID
            entries = await _entries(connection, read, after, last)
        yield _compare({row.id: row.body for row in rows}, entries)
        after = last


async def _entries(connection: AsyncConnection, read: Any, after: int, last: int) -> dict[int, str]:
    rows = await connection.execute(read, {"after": after, "last": last})
    return {row[0]: row[1] for row in rows}


def _compare(bodies: dict[int, str], entries: dict[int, str]) -> Batch:
    faults, corrections = Counter[str](), []
    for post_id in bodies.keys() | entries.keys():
        body, indexed = bodies.get(post_id), entries.get(post_id)
        expected = words(body or "")
        if body is not None and indexed is not None and set(indexed.split()) == set(expected):
            continue
        faults[SURPLUS if body is None else MISSING if indexed is None else DIFFERENT] += 1
        corrections.append({"id": post_id, "body": body, "words": " ".join(expected)})
    return Batch(len(bodies), faults, corrections)


async def _write(app: Quart, corrections: list[dict[str, Any]]) -> None:
    """Correct entries in one transaction, then sleep for as long as it took, so that the site can write."""
    started = time.monotonic()
    async with writing() as session:
        for statement in WRITE[_dialect(app)]:
            await session.execute(text(statement), corrections)
    await asyncio.sleep(time.monotonic() - started)


def _dialect(app: Quart) -> str:
    return "sqlite" if app.extensions["database"].is_sqlite else "postgresql"


def _number(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
