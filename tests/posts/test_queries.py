"""The timeline's query returns the same rows as a plain one, and a page view runs few statements."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from quart import Quart
from sqlalchemy import insert, or_, select, update

from app.accounts.models import LoginSession, User, followers
from app.database import reading, writing
from app.posts import queries
from app.posts.models import Post
from app.web.paging import PageCursor
from tests.factories import NOON, logged_in, make_follow, make_post, make_user
from tests.inspection import READS, recorded, statements_of

PEOPLE, SILENT, POSTS, SIZE = 100, 80, 400, 7


async def fill(chance: random.Random) -> None:
    """Store people of whom the first follow nobody, few, many, the silent and everybody, and their posts.

    Many posts have the same time; those of silent people are old.
    """
    async with writing() as session:
        people = [{"username": f"p{n}", "email": f"p{n}@example.com"} for n in range(PEOPLE)]
        await session.execute(insert(User), people)
        ids = list((await session.execute(select(User.id).order_by(User.id))).scalars())
        authors = [int(chance.paretovariate(0.6)) % PEOPLE for _ in range(POSTS)]
        posts = [
            {
                "body": str(author),
                "timestamp": NOON
                + timedelta(seconds=chance.randrange(120 if author < PEOPLE - SILENT else 40)),
                "user_id": ids[author],
            }
            for author in authors
        ]
        await session.execute(insert(Post), posts)
        some = [chance.sample(ids, count) for count in (0, 1, 3, 8, 20)]
        for reader, followed in zip(ids, [*some, ids[-SILENT:], ids], strict=False):
            pairs = [{"follower_id": reader, "followed_id": other} for other in followed]
            if pairs:
                await session.execute(insert(followers), pairs)


async def expected_ids(reader: int) -> list[int]:
    """Return the ids of every post that `reader` should see, newest first, by the obvious query."""
    followed = select(followers.c.followed_id).where(followers.c.follower_id == reader)
    statement = (
        select(Post.id)
        .where(or_(Post.user_id == reader, Post.user_id.in_(followed)))
        .order_by(Post.timestamp.desc(), Post.id.desc())
    )
    async with reading() as connection:
        return list((await connection.execute(statement)).scalars())


def cursor(entry: queries.PostEntry, *, newer: bool = False) -> PageCursor:
    return PageCursor(entry.stamp, entry.id, newer)


@pytest.mark.parametrize("seed", range(4))
async def test_the_timeline_equals_the_plain_query(app: Quart, seed: int) -> None:
    await fill(random.Random(seed))
    async with reading() as connection:
        ids = (await connection.execute(select(User.id).order_by(User.id).limit(8))).scalars()
    for reader in ids:
        expected = await expected_ids(reader)
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
        assert up == expected[::-1]


@pytest.mark.parametrize(
    ("path", "most"),
    [("/index", 3), ("/explore", 3), ("/user/david", 3), ("/user/david/followers", 3), ("/edit_profile", 2)],
)
async def test_a_page_view_reads_little_and_writes_nothing(app: Quart, path: str, most: int) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("david")
    await make_follow(me, david)
    for number in range(30):
        await make_post((me, david)[number % 2], f"post {number}", minute=number)
    page, statements = await statements_of(susan, path)
    assert page.status == 200
    assert 0 < len(statements) <= most
    assert all(sql.upper().startswith(READS) for sql in statements)


async def test_last_seen_is_written_once_a_minute_and_not_by_the_page(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    async with writing() as session:
        await session.execute(update(User).values(last_seen=long_ago))
        await session.execute(update(LoginSession).values(seen_at=datetime.now(UTC) - timedelta(seconds=61)))

    async def last_seen() -> datetime:
        async with reading() as connection:
            found = await connection.execute(select(User.last_seen).where(User.id == me))
            seen = found.scalar_one()
            assert seen is not None
            return seen

    with recorded() as seen:
        await asyncio.gather(*(susan.get("/index") for _ in range(3)))
        await asyncio.gather(*app.background_tasks)
    assert await last_seen() > long_ago
    assert sum(sql.startswith(('UPDATE "user"', "UPDATE user")) for sql in seen) == 1
    noted = await last_seen()
    with recorded() as seen:
        await susan.get("/index")
        await asyncio.gather(*app.background_tasks)
    assert seen
    assert all(sql.upper().startswith(READS) for sql in seen)
    assert await last_seen() == noted
