"""Store users, posts and follows for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from quart import Quart
from sqlalchemy import Table, func, insert, select
from werkzeug.security import generate_password_hash

from app.accounts.models import User, followers
from app.database import Base, reading, writing
from app.posts.models import Post
from app.posts.service import add_post
from tests.clients import Visitor

PASSWORD = "correct horse"
HASH = generate_password_hash(PASSWORD, "pbkdf2:sha256:1")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


async def make_user(username: str, **more: Any) -> int:
    """Store an account called `username` with the address username@example.com, and return its id."""
    values = {"email": f"{username}@example.com", "password_hash": HASH} | more
    user = User(username=username, **values)
    async with writing() as session:
        session.add(user)
    return user.id


async def make_post(author_id: int, body: str, *, minute: float = 0) -> int:
    """Store a post dated `minute` minutes after noon, and return its id."""
    post = Post(body=body, user_id=author_id, timestamp=NOON + timedelta(minutes=minute))
    async with writing() as session:
        await add_post(session, post)
    return post.id


async def make_follow(follower_id: int, *followed_ids: int) -> None:
    """Make one account follow others."""
    async with writing() as session:
        for followed_id in followed_ids:
            await session.execute(insert(followers).values(follower_id=follower_id, followed_id=followed_id))


async def count(table: type[Base] | Table) -> int:
    """Return the number of rows in `table`."""
    async with reading() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def logged_in(app: Quart, username: str, **more: Any) -> tuple[Visitor, int]:
    """Return a browser in which a new account called `username` is logged in, and the account's id."""
    user_id = await make_user(username, **more)
    visitor = Visitor(app)
    page = await visitor.log_in(username, PASSWORD)
    assert page.location == "/index", page.text
    return visitor, user_id
