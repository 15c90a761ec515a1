"""A page view runs at most three statements, and none of them writes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from quart import Quart
from sqlalchemy import select, update

from app.accounts.models import LoginSession, User
from app.database import reading, writing
from tests.factories import logged_in, make_follow, make_post, make_user
from tests.inspection import READS, recorded, statements_of


@pytest.mark.parametrize(
    ("path", "most"), [("/index", 2), ("/explore", 2), ("/user/david", 3), ("/edit_profile", 2)]
)
async def test_a_page_view_reads_little_and_writes_nothing(
    app: Quart, path: str, most: int
) -> None:
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
        await session.execute(
            update(LoginSession).values(seen_at=datetime.now(UTC) - timedelta(seconds=61))
        )

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
    assert all(sql.upper().startswith(READS) for sql in seen)
    assert await last_seen() == noted
