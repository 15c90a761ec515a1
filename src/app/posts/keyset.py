"""What the SELECTs of posts are made of: the side of a position to read from, and the columns shown."""

from __future__ import annotations

from enum import Enum
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    Integer,
    Select,
    SQLColumnExpression,
    bindparam,
    select,
    tuple_,
    type_coerce,
)

from app.accounts.models import User
from app.database import StoredTime
from app.posts.models import Post

Chosen = Select[*tuple[Any, ...]]
STAMP = bindparam("stamp", type_=StoredTime)
ID = bindparam("id", type_=BigInteger)
ROWS = bindparam("rows", type_=Integer)


class Side(Enum):
    """Where to read from: the newest post on, or a position on towards older or newer posts."""

    FIRST = "first"
    BEFORE = "before"
    AFTER = "after"


def beyond(chosen: Chosen, side: Side, post: type[Post] = Post) -> Chosen:
    """Return `chosen` with only the posts beyond the position, the nearest first."""
    keyset = tuple_(type_coerce(post.timestamp, StoredTime), post.id)
    if side is Side.BEFORE:
        chosen = chosen.where(keyset < tuple_(STAMP, ID))
    elif side is Side.AFTER:
        chosen = chosen.where(keyset > tuple_(STAMP, ID))
    return nearest_first(chosen, side, post.timestamp, post.id)


def nearest_first(chosen: Chosen, side: Side, *keyset: SQLColumnExpression[Any]) -> Chosen:
    """Return `chosen` in the order of reading: newest first, but oldest first towards newer posts."""
    ascending = side is Side.AFTER
    return chosen.order_by(*(part.asc() if ascending else part.desc() for part in keyset))


def shown(found: CTE, side: Side) -> Chosen:
    """Return what pages show of the `rows` nearest posts of `found` (id, timestamp, walked)."""
    nearest = nearest_first(select(found), side, found.c.timestamp, found.c.id).limit(ROWS)
    top = nearest.cte("nearest")
    posts = (
        select(*COLUMNS, top.c.walked)
        .join_from(top, Post, Post.id == top.c.id)
        .join(User, User.id == Post.user_id)
    )
    return nearest_first(posts, side, top.c.timestamp, top.c.id).limit(ROWS)


COLUMNS = (
    Post.id,
    Post.body,
    Post.timestamp,
    User.username,
    User.email,
    type_coerce(Post.timestamp, StoredTime).label("stamp"),
)
