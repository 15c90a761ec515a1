"""Leaving while other browsers of the same account are busy: every answer is polite, nothing is left."""

from __future__ import annotations

import asyncio

from quart import Quart
from sqlalchemy import func, select

from app.accounts.models import KnownDevice, LoginSession, User, followers
from app.database import reading
from app.posts.models import Post
from tests.clients import Visitor
from tests.factories import PASSWORD, logged_in, make_user


async def test_what_others_do_meanwhile_is_done_or_refused_politely(app: Quart) -> None:
    leaver, _ = await logged_in(app, "susan")
    await make_user("david")
    busy = []
    for _ in range(6):
        visitor = Visitor(app)
        await visitor.log_in("susan", PASSWORD)
        busy.append((visitor, (await visitor.get("/index")).token))
    guests = [(visitor, (await visitor.get("/login")).token) for visitor in [Visitor(app)] * 2]
    token = (await leaver.get("/delete_account")).token
    pages = await asyncio.gather(
        *(who.post("/index", post="still here", csrf_token=t) for who, t in busy[:2]),
        *(who.post("/follow/david", csrf_token=t) for who, t in busy[2:4]),
        leaver.post("/delete_account", current=PASSWORD, sure="y", csrf_token=token),
        *(who.post("/index", post="still here", csrf_token=t) for who, t in busy[4:]),
        *(
            who.post("/login", username="susan", password=PASSWORD, csrf_token=t)
            for who, t in guests
        ),
    )
    assert {page.status for page in pages} <= {200, 302}, [page.text for page in pages]
    async with reading() as connection:
        for table, left in ((User, 1), (Post, 0), (LoginSession, 0), (KnownDevice, 0), (followers, 0)):  # fmt: skip
            assert await connection.scalar(select(func.count()).select_from(table)) == left
