"""The timeline's fast query returns what a plain one does, for every reader and direction, ties included."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from quart import Quart
from sqlalchemy import insert, or_, select

from app.accounts.models import User, followers
from app.database import reading, writing
from app.posts import queries
from app.posts.models import Post
from app.web.paging import PageCursor
from tests.factories import NOON

PEOPLE, POSTS, SIZE = 30, 400, 7


async def fill(chance: random.Random) -> None:
    """Store people of whom the first follow nobody, few, many and everybody, and posts with many ties."""
    async with writing() as session:
        people = [{"username": f"p{n}", "email": f"p{n}@example.com"} for n in range(PEOPLE)]
        await session.execute(insert(User), people)
        ids = list((await session.execute(select(User.id).order_by(User.id))).scalars())
        posts = [
            {
                "body": str(number),
                "timestamp": NOON + timedelta(seconds=chance.randrange(POSTS // 3)),
                "user_id": ids[int(chance.paretovariate(0.6)) % PEOPLE],
            }
            for number in range(POSTS)
        ]
        await session.execute(insert(Post), posts)
        for reader, count in enumerate((0, 1, 3, 8, 20, PEOPLE)):
            for other in chance.sample(ids, count):
                await session.execute(
                    insert(followers).values(follower_id=ids[reader], followed_id=other)
                )


async def plain(reader: int) -> list[int]:
    """Return the ids of every post that `reader` should see, newest first, by the obvious query."""
    followed = select(followers.c.followed_id).where(followers.c.follower_id == reader)
    statement = (
        select(Post.id)
        .where(or_(Post.user_id == reader, Post.user_id.in_(followed)))
        .order_by(Post.timestamp.desc(), Post.id.desc())
    )
    async with reading() as connection:
        return list((await connection.execute(statement)).scalars())


def cursor(entry: queries.Entry, *, newer: bool = False) -> PageCursor:
    return PageCursor(entry.stamp, entry.id, newer)


@pytest.mark.parametrize("seed", range(4))
async def test_the_timeline_equals_the_plain_query(app: Quart, seed: int) -> None:
    await fill(random.Random(seed))
    async with reading() as connection:
        ids = (await connection.execute(select(User.id).order_by(User.id).limit(7))).scalars()
    for reader in ids:
        expected = await plain(reader)
        down: list[int] = []
        page = await queries.timeline(reader, None, SIZE)
        down += [entry.id for entry in page.rows]
        while page.older:
            page = await queries.timeline(reader, cursor(page.rows[-1]), SIZE)
            down += [entry.id for entry in page.rows]
        assert down == expected
        up = [entry.id for entry in page.rows][::-1]
        while page.newer:
            page = await queries.timeline(reader, cursor(page.rows[0], newer=True), SIZE)
            up += [entry.id for entry in page.rows][::-1]
        assert up[: len(expected)] == expected[::-1]
