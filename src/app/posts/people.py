"""Lists of people: a person's followers, the people they follow, and suggestions of people to follow.

The lists are ordered by the age of the accounts, newest first, since follows have no time.

Suggestions would cost each page view a third statement and a twentieth of its time, so they are kept as HTML
for CACHE_SECONDS in this process. A reader who follows somebody gets new ones at once.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup
from quart import Quart, current_app
from sqlalchemy import BigInteger, Integer, Select, bindparam, func, literal, select, union_all

from app.accounts.models import User, followers
from app.accounts.names import avatar_url, person_path
from app.database import Query, fetch
from app.posts.models import Post
from app.web import languages
from app.web.paging import Page, PageCursor, build_page

AVATAR_PIXELS = 48
SUGGESTED = 5
RECENT_POSTS = 200  # whose authors are suggested first
NEWEST_ACCOUNTS = 50  # are suggested after them
CACHE_SECONDS = 60.0
MAX_CACHED = 10_000  # readers

PERSON = bindparam("person", type_=Integer)
READER = bindparam("reader", type_=Integer)
ID = bindparam("id", type_=BigInteger)
ROWS = bindparam("rows", type_=Integer)

_reads = followers.alias()
IS_FOLLOWED = (
    select(_reads.c.followed_id)
    .where(_reads.c.follower_id == READER, _reads.c.followed_id == User.id)
    .correlate(User)
    .exists()
)
COLUMNS = (User.id, User.username, User.email, User.about_me, IS_FOLLOWED)


class PersonEntry(NamedTuple):
    """A person as a list shows them. `stamp`: the same for all, because their ids alone give the order."""

    id: int
    username: str
    about: str
    is_followed: bool
    profile: str
    avatar: str
    stamp: str = "0001-01-01"


def entries(rows: Sequence[Sequence[Any]]) -> list[PersonEntry]:
    """Return the entries for rows of `COLUMNS`."""
    return [
        PersonEntry(
            id=user_id,
            username=username,
            about=about or "",
            is_followed=is_followed,
            profile=person_path("user", username),
            avatar=avatar_url(user_id, username, email, AVATAR_PIXELS),
        )
        for user_id, username, email, about, is_followed in rows
    ]


def _listed(condition: Any, join: Any) -> dict[str, Query]:
    """Return the queries for the first page of a list, and for the pages before and after a position."""
    people = select(*COLUMNS).join(followers, join).where(condition).limit(ROWS)
    return {
        "first": Query(people.order_by(User.id.desc())),
        "older": Query(people.where(User.id < ID).order_by(User.id.desc())),
        "newer": Query(people.where(User.id > ID).order_by(User.id)),
    }


LISTS = {
    "followers": _listed(followers.c.followed_id == PERSON, followers.c.follower_id == User.id),
    "following": _listed(followers.c.follower_id == PERSON, followers.c.followed_id == User.id),
}
"""The queries for the people who follow a person, and for those that the person follows."""


async def read_list(
    which: str, person_id: int, reader_id: int, cursor: PageCursor | None, size: int
) -> Page[PersonEntry]:
    """Return a page of `size` people of one of a person's LISTS."""
    queries, parameters = LISTS[which], {"person": person_id, "reader": reader_id, "rows": size + 1}
    if cursor is None:
        rows = await fetch(queries["first"], **parameters)
    else:
        rows = await fetch(queries["newer" if cursor.newer else "older"], id=cursor.id, **parameters)
    page = build_page(entries(rows), cursor, size)
    return page or await read_list(which, person_id, reader_id, None, size)


def _suggested() -> Select[*tuple[Any, ...]]:
    """Return the SELECT for people that the reader does not follow: the latest authors, then new accounts."""
    latest = select(Post.user_id, Post.id).order_by(Post.timestamp.desc(), Post.id.desc()).limit(RECENT_POSTS)
    posts = latest.subquery()
    newest = select(User.id).order_by(User.id.desc()).limit(NEWEST_ACCOUNTS).subquery()
    candidates = union_all(
        select(posts.c.user_id.label("id"), posts.c.id.label("post_id")),
        select(newest.c.id, literal(0, BigInteger)),
    ).subquery()
    ranked = (
        select(candidates.c.id, func.max(candidates.c.post_id).label("post_id"))
        .group_by(candidates.c.id)
        .subquery()
    )
    return (
        select(*COLUMNS)
        .join(ranked, ranked.c.id == User.id)
        .where(User.id != READER, ~IS_FOLLOWED)
        .order_by(ranked.c.post_id.desc(), User.id.desc())
        .limit(SUGGESTED)
    )


SUGGESTIONS = Query(_suggested())


class Suggested(NamedTuple):
    """People to follow, and their list as the side column shows it."""

    people: list[PersonEntry]
    html: Markup


class Suggestions:
    """The people suggested to each reader, for CACHE_SECONDS."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, tuple[float, str, Suggested]] = OrderedDict()

    async def get(self, reader_id: int) -> Suggested:
        """Return up to SUGGESTED people, by one statement if none are cached."""
        suggested = self.kept(reader_id)
        if suggested is None:
            people = entries(await fetch(SUGGESTIONS, reader=reader_id))
            template = current_app.jinja_env.get_template("macros/people.html")
            suggested = Suggested(people, template.module.entries(people))  # type: ignore[attr-defined]
            self._kept[reader_id] = (time.monotonic() + CACHE_SECONDS, languages.current().code, suggested)
            if len(self._kept) > MAX_CACHED:
                self._kept.popitem(last=False)
        return suggested

    def kept(self, reader_id: int) -> Suggested | None:
        """Return what is cached in the language of the reader, for pages that must not run a statement."""
        until, code, suggested = self._kept.get(reader_id, (0.0, "", None))
        if until <= time.monotonic() or code != languages.current().code:
            self._kept.pop(reader_id, None)
            return None
        return suggested

    def forget(self, reader_id: int) -> None:
        """Drop what is cached for a reader who has followed or unfollowed somebody."""
        self._kept.pop(reader_id, None)


def init_app(app: Quart) -> None:
    """Give `app` its suggestions."""
    app.extensions["suggestions"] = Suggestions()


def suggestions() -> Suggestions:
    """Return the suggestions of the current app."""
    found: Suggestions = current_app.extensions["suggestions"]
    return found
