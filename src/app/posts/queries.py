"""Reading pages of posts: everybody's, one person's, and a reader's timeline.

Each is walked from a position on (see web.paging), newest first or, towards newer posts, oldest first.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, bindparam, select

from app.accounts.models import User
from app.accounts.names import avatar_url, person_path
from app.database import Query, fetch
from app.posts import timeline as timelines
from app.posts.keyset import COLUMNS, ROWS, Side, beyond
from app.posts.models import Post
from app.web.paging import FIRST, Page, Place, Position, cut
from app.web.times import written

AVATAR_PIXELS = 48
Rows = list[tuple[Any, ...]]


class Entry(NamedTuple):
    """One post as a page shows it, ready for the template: each call there costs as much as a column.

    `moment` is its time in ISO 8601, `stamp` its time as the database holds it.
    """

    id: int
    body: str
    moment: str
    written: str
    username: str
    profile: str
    avatar: str
    stamp: str

    @classmethod
    def of(
        cls, number: int, body: str, time: datetime, username: str, email: str, stamp: str
    ) -> Entry:
        """Return the entry for a row of `COLUMNS`."""
        return cls(
            number,
            body,
            time.isoformat(),
            written(time),
            username,
            person_path("user", username),
            avatar_url(email, AVATAR_PIXELS),
            stamp,
        )


def _by_time(*conditions: ColumnElement[bool]) -> dict[Side, Query]:
    """Return the queries for posts with `conditions`."""
    posts = select(*COLUMNS).join(User, User.id == Post.user_id).where(*conditions).limit(ROWS)
    return {side: Query(beyond(posts, side)) for side in Side}


EVERYBODYS = _by_time()
ONE_PERSONS = _by_time(Post.user_id == bindparam("author", type_=Integer))
TRIED = {side: timelines.tried(side) for side in Side}
MERGED = {side: timelines.merged(side) for side in Side}


async def everybody(place: Place, size: int) -> Page[Entry]:
    """Return the page of `size` posts at `place`, whoever wrote them."""
    rows = await fetch(EVERYBODYS[_side(place)], rows=size + 1, **_position(place))
    return _page(rows, place, size) or await everybody(FIRST, size)


async def of_person(author_id: int, place: Place, size: int) -> Page[Entry]:
    """Return the page of `size` posts at `place` among those of one author."""
    query = ONE_PERSONS[_side(place)]
    rows = await fetch(query, rows=size + 1, author=author_id, **_position(place))
    return _page(rows, place, size) or await of_person(author_id, FIRST, size)


async def timeline(reader_id: int, place: Place, size: int) -> Page[Entry]:
    """Return the page of `size` posts at `place` among the reader's own and those of whom they follow."""
    asked = {"rows": size + 1, "last": size, "reader": reader_id, **_position(place)}
    rows = await fetch(TRIED[_side(place)], **asked)
    if len(rows) <= size and (not rows or rows[0][-1]):  # what was walked may have fallen short
        rows = await fetch(MERGED[_side(place)], **asked)
    return _page([row[:-1] for row in rows], place, size) or await timeline(reader_id, FIRST, size)


def _side(place: Place) -> Side:
    if place.position is None:
        return Side.FIRST
    return Side.AFTER if place.newer else Side.BEFORE


def _position(place: Place) -> dict[str, Any]:
    position = place.position
    return {} if position is None else {"stamp": position.stamp, "id": position.id}


def _page(rows: Rows, place: Place, size: int) -> Page[Entry] | None:
    entries = [Entry.of(*row) for row in rows]
    return cut(entries, [Position(entry.stamp, entry.id) for entry in entries], place, size)
