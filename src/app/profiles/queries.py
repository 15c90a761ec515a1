"""Read profiles: one statement finds a person with everything that their page shows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, Integer, ScalarSelect, Select, String, bindparam, func, select

from app.accounts.models import User, exact_first, followers
from app.accounts.names import canonical
from app.database import Query, fetch, is_storable


class Person(NamedTuple):
    """A person as their page shows them; `is_followed`: by the reader of the page."""

    id: int
    username: str
    email: str
    about_me: str | None
    last_seen: datetime | None
    followers: int
    following: int
    is_followed: bool


NAME = bindparam("name", type_=String)
CANONICAL_NAME = bindparam("canonical_name", type_=String)
READER = bindparam("reader", type_=Integer)


def _named(people: Select[*tuple[Any, ...]]) -> Query:
    """Return the query for the one of `people` called NAME: exactly, or else ignoring case."""
    condition = User.named(NAME, CANONICAL_NAME)
    return Query(people.where(condition).order_by(exact_first(User.username, NAME)).limit(1))


def _count(role: Column[int]) -> ScalarSelect[int]:
    return select(func.count()).where(role == User.id).correlate(User).scalar_subquery()


PERSON = _named(
    select(
        User.id,
        User.username,
        User.email,
        User.about_me,
        User.last_seen,
        _count(followers.c.followed_id),
        _count(followers.c.follower_id),
        select(followers.c.follower_id)
        .where(followers.c.follower_id == READER, followers.c.followed_id == User.id)
        .exists(),
    )
)
IDENTITY = _named(select(User.id, User.username))
ABOUT_ME = Query(select(User.about_me).where(User.id == bindparam("user", type_=Integer)))


async def find(username: str, *, reader_id: int) -> Person | None:
    """Return the person called `username`: the exact name before one that differs by case."""
    rows = await _fetch(PERSON, username, reader=reader_id)
    return Person(*rows[0]) if rows else None


async def identify(username: str) -> tuple[int, str] | None:
    """Return id and stored name of the person that `find` finds."""
    rows = await _fetch(IDENTITY, username)
    return (rows[0][0], rows[0][1]) if rows else None


async def _fetch(query: Query, username: str, **parameters: int) -> Sequence[Any]:
    if not is_storable(username):
        return []
    return await fetch(query, name=username, canonical_name=canonical(username), **parameters)


async def about_me(user_id: int) -> str:
    """Return the account's text about itself."""
    rows = await fetch(ABOUT_ME, user=user_id)
    return (rows[0][0] if rows else None) or ""
