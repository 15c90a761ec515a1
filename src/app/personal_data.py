"""What is stored about a person, as one JSON file for them to keep (GDPR articles 15 and 20)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import LoginSession, User, followers
from app.database import reading
from app.posts.models import Post

MOST_ROWS = 50_000
"""Of each list, the newest: a mail much larger than 15 MB arrives hardly anywhere."""


async def collect(user_id: int) -> bytes | None:
    """Return the person's data as JSON in UTF-8: account, posts, follows both ways, sessions; None when gone.

    What only guards the account is left out: hashes of the password, of sessions and of browsers.
    """
    async with reading() as connection:
        account = await _rows(connection, _account(user_id))
        if not account:
            return None
        data = {
            "account": account[0],
            "posts": await _list(connection, _posts(user_id)),
            "following": await _list(connection, _others(user_id, "follower_id", "followed_id")),
            "followers": await _list(connection, _others(user_id, "followed_id", "follower_id")),
            "sessions": await _list(connection, _sessions(user_id)),
        }
    return json.dumps(data, ensure_ascii=False, indent=1, default=_text).encode("utf-8", "replace")


def _account(user_id: int) -> Select[*tuple[Any, ...]]:
    return select(User.id, User.username, User.email, User.about_me, User.last_seen).where(
        User.id == user_id
    )


def _posts(user_id: int) -> Select[*tuple[Any, ...]]:
    newest = (Post.timestamp.desc(), Post.id.desc())
    return select(Post.timestamp, Post.body).where(Post.user_id == user_id).order_by(*newest)


def _others(user_id: int, own: str, other: str) -> Select[*tuple[Any, ...]]:
    return (
        select(User.username)
        .join(followers, followers.c[other] == User.id)
        .where(followers.c[own] == user_id)
        .order_by(User.username)
    )


def _sessions(user_id: int) -> Select[*tuple[Any, ...]]:
    return (
        select(LoginSession.created_at, LoginSession.seen_at, LoginSession.user_agent)
        .where(LoginSession.user_id == user_id)
        .order_by(LoginSession.seen_at.desc())
    )


async def _list(connection: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> dict[str, Any]:
    """Return how many rows there are, and the first MOST_ROWS of them."""
    counted = select(func.count()).select_from(statement.order_by(None).subquery())
    total = (await connection.execute(counted)).scalar_one()
    return {"total": total, "listed": await _rows(connection, statement.limit(MOST_ROWS))}


async def _rows(
    connection: AsyncConnection, statement: Select[*tuple[Any, ...]]
) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
