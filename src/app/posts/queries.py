"""Reading pages of posts: everybody's, one person's, and a reader's timeline.

Each is walked from a position on (see web.paging), newest first or, towards newer posts, oldest first.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    bindparam,
    or_,
    select,
    tuple_,
    type_coerce,
)

from app.accounts.models import User, avatar_url, followers
from app.database import StoredTime
from app.fetching import Query, fetch
from app.posts.models import Post
from app.web.paging import FIRST, Page, Place, Position, cut

AVATAR_PIXELS = 48


class Entry(NamedTuple):
    """One post as a page shows it."""

    id: int
    body: str
    timestamp: datetime
    username: str
    email: str
    stamp: str

    @property
    def avatar(self) -> str:
        """The address of the author's picture."""
        return avatar_url(self.email, AVATAR_PIXELS)


READER = bindparam("reader", type_=Integer)
AUTHOR = bindparam("author", type_=Integer)
ROWS = bindparam("rows", type_=Integer)
STAMP = type_coerce(Post.timestamp, StoredTime)
HERE = tuple_(bindparam("stamp", type_=StoredTime), bindparam("id", type_=BigInteger))


def _walks(*conditions: ColumnElement[bool]) -> dict[str, Query]:
    """Return the queries for posts with `conditions`: from the newest, before and after a position."""
    base = (
        select(Post.id, Post.body, Post.timestamp, User.username, User.email, STAMP.label("stamp"))
        .join(User, User.id == Post.user_id)
        .where(*conditions)
        .limit(ROWS)
    )
    keyset = tuple_(STAMP, Post.id)
    newest_first = base.order_by(Post.timestamp.desc(), Post.id.desc())
    return {
        "first": Query(newest_first),
        "before": Query(newest_first.where(keyset < HERE)),
        "after": Query(base.where(keyset > HERE).order_by(Post.timestamp, Post.id)),
    }


EVERYBODY = _walks()
ONE_PERSON = _walks(Post.user_id == AUTHOR)
TIMELINE = _walks(
    or_(
        Post.user_id == READER,
        Post.user_id.in_(select(followers.c.followed_id).where(followers.c.follower_id == READER)),
    )
)


async def everybody(place: Place, size: int) -> Page[Entry]:
    """Return the page of `size` posts at `place`, whoever wrote them."""
    return await _page(EVERYBODY, place, size)


async def of_person(author_id: int, place: Place, size: int) -> Page[Entry]:
    """Return the page of `size` posts at `place` among those of one author."""
    return await _page(ONE_PERSON, place, size, author=author_id)


async def timeline(reader_id: int, place: Place, size: int) -> Page[Entry]:
    """Return the page of `size` posts at `place` among the reader's own and those of whom they follow."""
    return await _page(TIMELINE, place, size, reader=reader_id)


async def _page(walks: dict[str, Query], place: Place, size: int, **whose: int) -> Page[Entry]:
    if place.position is None:
        rows = await fetch(walks["first"], rows=size + 1, **whose)
    else:
        walk = walks["after" if place.newer else "before"]
        position = place.position
        rows = await fetch(walk, rows=size + 1, stamp=position.stamp, id=position.id, **whose)
    entries = [Entry(*row) for row in rows]
    page = cut(entries, [Position(entry.stamp, entry.id) for entry in entries], place, size)
    return page if page is not None else await _page(walks, FIRST, size, **whose)
