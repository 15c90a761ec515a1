"""The SELECTs of a reader's timeline, fast for every reader of a large site (benchmarks/timeline.py).

Two ways lead to the newest posts of the people somebody follows, and each is hopeless for some reader:

- *merge*: look up the newest post of each author, keep the authors whose newest are the newest, and take
  the newest posts of those. Its cost grows with the number of authors: 0.03 ms for five, 2 to 3 ms for a
  thousand, however many posts there are (a plain `IN` reads and sorts all their posts: 51 ms).
- *walk*: go down everybody's posts and keep those whose author is followed. Next to nothing for who
  follows a thousand busy people, a million rows for who follows five quiet ones.

So readers of few are served by the merge; for readers of many the walk gets a bounded try, and only
when that finds too little the merge is done. The first SELECT holds both and counts no further than FEW.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    SQLColumnExpression,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.orm import aliased

from app.accounts.models import followers
from app.database import Query, StoredTime
from app.posts.keyset import ROWS, Chosen, Side, beyond, nearest_first, shown
from app.posts.models import Post

FEW = 100
"""Up to so many followed people are merged at once: 0.3 ms."""

WALKED_ROWS = 1000
"""So many rows the walk looks at before it gives up: 0.3 ms."""

EVERYBODY = 10**9
READER = bindparam("reader", type_=Integer)
LAST = bindparam("last", type_=Integer)  # one less than `rows`
FARTHEST = "9999-12-31 23:59:59.999999"
EARLIEST = "0001-01-01 00:00:00.000000"
MERGED = literal(0, Integer).label("walked")
WALKED = literal(1, Integer).label("walked")


def tried(side: Side) -> Query:
    """Return the SELECT to ask first; rows that are `walked` and too few say that `merged` finds more."""
    followed = select(followers.c.followed_id).where(followers.c.follower_id == READER)
    crowd = followed.limit(FEW + 1).subquery()
    many = select(func.count() > FEW).select_from(crowd).scalar_subquery()
    people = _people(limit=case((many, 0), else_=FEW), mine=~many)
    walked_rows = case((many, WALKED_ROWS), else_=0)

    def wording(postgresql: bool) -> Chosen:
        walk = _walk(side, walked_rows, postgresql).subquery()
        return shown(union_all(_newest(side, people, postgresql), select(walk)).cte("found"), side)

    return Query(wording(False), wording(True))


def merged(side: Side) -> Query:
    """Return the SELECT that is right for every reader, and slower for readers of many."""
    people = _people(limit=literal(EVERYBODY), mine=true())

    def wording(postgresql: bool) -> Chosen:
        return shown(_newest(side, people, postgresql).cte("found"), side)

    return Query(wording(False), wording(True))


def _people(*, limit: ColumnElement[int], mine: ColumnElement[bool]) -> CTE:
    """Return whose posts the reader sees: at most `limit` followed people, and the reader if `mine`."""
    followed = (
        select(followers.c.followed_id.label("id"))
        .where(followers.c.follower_id == READER)
        .limit(limit)
        .subquery()
    )
    return union(select(followed), select(READER.label("id")).where(mine)).cte("people")


def _newest(side: Side, people: CTE, postgresql: bool) -> Chosen:
    """Return id and time of the newest posts of `people`, by the merge."""
    head = beyond(select(Post.timestamp).where(Post.user_id == people.c.id), side).limit(1)
    heads = select(people.c.id, head.scalar_subquery().label("time")).cte("heads")
    edge = select(_edge(side, heads).label("time")).cte("edge")
    edge_time = select(edge.c.time).scalar_subquery()
    theirs = aliased(Post)
    candidates = (
        beyond(select(theirs.id, theirs.timestamp), side, theirs)
        .where(theirs.user_id == heads.c.id, _within(side, theirs.timestamp, edge_time))
        .limit(ROWS)
    )
    if postgresql:
        each = candidates.lateral()
        found = select(each.c.id, each.c.timestamp, MERGED).join_from(heads, each, true())
    else:  # SQLite has no LATERAL, PostgreSQL would read every post for this one
        ids = candidates.with_only_columns(theirs.id).correlate(heads)
        found = select(Post.id, Post.timestamp, MERGED).join_from(heads, Post, Post.id.in_(ids))
    return found.where(_within(side, heads.c.time, edge_time))


def _edge(side: Side, heads: CTE) -> ColumnElement[Any]:
    """Return the newest time of the last author who can matter: no post beyond it can be on the page.

    With fewer authors than rows there is none, and every time is within it.
    """
    times = nearest_first(select(heads.c.time).where(heads.c.time.is_not(None)), side, heads.c.time)
    everything = literal(FARTHEST if side is Side.AFTER else EARLIEST, StoredTime)
    return func.coalesce(times.limit(1).offset(LAST).scalar_subquery(), everything)


def _walk(side: Side, walked_rows: ColumnElement[int], postgresql: bool) -> Chosen:
    """Return id and time of the reader's posts among the next `walked_rows` of everybody's."""
    near = beyond(select(Post.id, Post.timestamp, Post.user_id), side).limit(walked_rows).subquery()
    follows = exists().where(
        followers.c.follower_id == READER, followers.c.followed_id == near.c.user_id
    )
    found = (
        select(near.c.id, near.c.timestamp, WALKED)
        .where(or_(near.c.user_id == READER, follows))
        .limit(ROWS)
    )
    # SQLite keeps the inner order, and asked for it would look at all the rows before it stops.
    return nearest_first(found, side, near.c.timestamp, near.c.id) if postgresql else found


def _within(
    side: Side, time: SQLColumnExpression[Any], edge: ColumnElement[Any]
) -> ColumnElement[bool]:
    return time <= edge if side is Side.AFTER else time >= edge
