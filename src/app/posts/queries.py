"""Read posts: one, or a page of everybody's, one author's, a reader's timeline, or the replies to one.

A page is read starting at a cursor (see `app.web.paging`): newest first, or oldest first when going to newer
posts, so that the rows next to the cursor always come first. One statement reads all that a page shows of its
posts: authors, what they reply to, and whom they mention.

The timeline merges many authors' posts. A plain `user_id IN (...)` would read and sort all of them: 51 ms for
a thousand authors among a million posts. Instead, everybody's newest posts are looked through first, two for
each author: 1 ms for the same thousand (benchmarks/timeline.py). Only if too few of these are theirs, the
newest post of each author is looked up. The `rows`-th newest of these is the cutoff: older posts cannot be on
the page. Then the newest `rows` posts of each author, down to the cutoff, are sorted. That takes 4 ms.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    SQLColumnExpression,
    String,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    true,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import aliased

from app.accounts.models import User, followers
from app.accounts.names import avatar_url, person_path
from app.database import Query, Statement, StoredTime, fetch
from app.posts.models import Mention, Post
from app.posts.text import linked
from app.web.languages import writer
from app.web.paging import Page, PageCursor, build_page
from app.web.templating import fold

AVATAR_PIXELS = 48

# The queries' parameters: the cursor, how many rows to read, and whose posts.
STAMP = bindparam("stamp", type_=StoredTime)
ID = bindparam("id", type_=BigInteger)
ROWS = bindparam("rows", type_=Integer)
AUTHOR = bindparam("author", type_=Integer)
READER = bindparam("reader", type_=Integer)
POST = bindparam("post", type_=BigInteger)

_parent, _parents_author, _mentioned = aliased(Post), aliased(User), aliased(User)
SEPARATOR = "/"  # in no name that can be mentioned
_separator: Any = literal_column(f"'{SEPARATOR}'", String)
COLUMNS = (
    Post.id,
    Post.body,
    Post.language,
    type_coerce(Post.timestamp, StoredTime).label("stamp"),
    User.id,
    User.username,
    User.email,
    Post.replies,
    Post.is_reply,
    _parent.id,
    _parent.body,
    _parents_author.username,
    select(func.aggregate_strings(Mention.name + _separator + _mentioned.username, _separator))
    .join(_mentioned, _mentioned.id == Mention.user_id)
    .where(Mention.post_id == Post.id)
    .correlate(Post)
    .scalar_subquery(),
)
SCANNED_PER_AUTHOR = 2  # how many of everybody's posts a timeline's query looks through first
SAMPLED = 8  # one author in this many is asked for a first bound on the cutoff
MIN_TIME, MAX_TIME = "0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999"
NO_MENTIONS: dict[str, str] = {}
OLDEST = PageCursor(MIN_TIME, 0, newer=True)


def select_posts(
    source: FromClause | type[Post] = Post, id_: SQLColumnExpression[int] = Post.id
) -> Statement:
    """Return the SELECT of `COLUMNS` for the posts with the ids `id_` in `source`."""
    statement = select(*COLUMNS).select_from(source)
    if source is not Post:
        statement = statement.join(Post, Post.id == id_)
    return (
        statement.join(User, User.id == Post.user_id)
        .outerjoin(_parent, _parent.id == Post.reply_to)
        .outerjoin(_parents_author, _parents_author.id == _parent.user_id)
    )


class Parent(NamedTuple):
    """The post that another one replies to; nothing of it is known once it is deleted (`id` is None)."""

    id: int | None
    body: str | None
    username: str | None


class PostEntry(NamedTuple):
    """A post with everything that a page shows of it, because calls in a template are slow.

    `stamp`: the time as stored; `moment`: in ISO 8601; `written`: in the reader's language and time zone.
    `body` and `rest`: the lines shown at once and on request, as text or markup. `language`: a code or None.
    `replies`: their number. `parent`: None unless the post is a reply. `profile` and `avatar`: paths.
    """

    id: int
    stamp: str
    moment: str
    written: str
    body: str
    rest: str
    language: str | None
    replies: int
    parent: Parent | None
    author_id: int
    username: str
    profile: str
    avatar: str


def entries(rows: Iterable[tuple[Any, ...]]) -> Iterator[PostEntry]:
    """Yield the entries for rows of `COLUMNS`."""
    authors: dict[int, tuple[int, str, str, str]] = {}
    write = writer()
    for post_id, body, language, stamp, author_id, username, email, replies, is_reply, *parent, names in rows:
        author = authors.get(author_id)
        if author is None:
            avatar = avatar_url(author_id, username, email, AVATAR_PIXELS)
            author = authors[author_id] = (author_id, username, person_path("user", username), avatar)
        called = _names(names) if names else NO_MENTIONS
        first, rest = fold(body)
        yield PostEntry(
            post_id,
            stamp,
            f"{stamp[:10]}T{stamp[11:19]}Z",
            write(stamp),
            linked(first, called),
            linked(rest, called) if rest else "",
            language,
            replies,
            Parent(*parent) if is_reply else None,
            *author,
        )


def _names(mentions: str) -> dict[str, str]:
    """Return the usernames of the accounts that a post mentions, by the names that it calls them."""
    parts = mentions.split(SEPARATOR)
    return dict(zip(parts[::2], parts[1::2], strict=False))


async def find(post_id: int) -> PostEntry | None:
    """Return the post with this id, or None."""
    return next(entries(await fetch(BY_ID, post=post_id)), None)


async def replies_to(post_id: int, cursor: PageCursor | None, size: int) -> Page[PostEntry]:
    """Return a page of `size` replies to a post, the oldest first."""
    start = cursor or OLDEST
    rows = await fetch(
        REPLIES[Direction.of(start)], rows=size + 1, stamp=start.stamp, id=start.id, post=post_id
    )
    page = build_page(list(entries(rows)), cursor, size, oldest_first=True)
    return page or await replies_to(post_id, None, size)


async def everybody(cursor: PageCursor | None, size: int) -> Page[PostEntry]:
    """Return a page of `size` posts by anybody."""
    return await _read_page(EVERYBODY, cursor, size)


async def by_author(author_id: int, cursor: PageCursor | None, size: int) -> Page[PostEntry]:
    """Return a page of `size` posts by one author."""
    return await _read_page(BY_AUTHOR, cursor, size, author=author_id)


async def timeline(reader_id: int, cursor: PageCursor | None, size: int) -> Page[PostEntry]:
    """Return a page of `size` posts by the reader and the people they follow."""
    return await _read_page(TIMELINE, cursor, size, reader=reader_id)


class Direction(Enum):
    """Where to read: from the newest post, or from the cursor towards older or newer posts."""

    FIRST = "first"
    OLDER = "older"
    NEWER = "newer"

    @classmethod
    def of(cls, cursor: PageCursor | None) -> Self:
        """Return where the page next to `cursor` is read."""
        return cls("first" if cursor is None else "newer" if cursor.newer else "older")


Queries = dict[Direction, Query]


async def _read_page(
    queries: Queries, cursor: PageCursor | None, size: int, **parameters: int
) -> Page[PostEntry]:
    """Read the page next to `cursor`, or the first page if there is none."""
    position = {} if cursor is None else {"stamp": cursor.stamp, "id": cursor.id}
    rows = await fetch(queries[Direction.of(cursor)], rows=size + 1, **position, **parameters)
    page = build_page(list(entries(rows)), cursor, size)
    return page or await _read_page(queries, None, size, **parameters)


def _from_cursor(statement: Statement, direction: Direction, post: type[Post] = Post) -> Statement:
    """Return `statement` for the posts on one side of the cursor, the nearest first."""
    keyset = tuple_(type_coerce(post.timestamp, StoredTime), post.id)
    if direction is Direction.OLDER:
        statement = statement.where(keyset < tuple_(STAMP, ID))
    elif direction is Direction.NEWER:
        statement = statement.where(keyset > tuple_(STAMP, ID))
    return nearest_first(statement, direction, post.timestamp, post.id)


def nearest_first(statement: Statement, direction: Direction, *keyset: SQLColumnExpression[Any]) -> Statement:
    """Return `statement` in the order in which a page is read."""
    ascending = direction is Direction.NEWER
    return statement.order_by(*(part.asc() if ascending else part.desc() for part in keyset))


def _by_time(*conditions: ColumnElement[bool]) -> Queries:
    """Return the queries for all posts that meet `conditions`."""
    posts = select_posts().where(*conditions).limit(ROWS)
    return {direction: Query(_from_cursor(posts, direction)) for direction in Direction}


def _timeline(direction: Direction, *, is_postgresql: bool) -> Statement:
    """Return the SELECT of a timeline page (see the module's docstring)."""
    followed = select(followers.c.followed_id.label("id"))
    others = followed.where(followers.c.follower_id == READER, followers.c.followed_id != READER)
    authors = union_all(others, select(READER.label("id"))).cte("authors")
    size = select(func.count() * SCANNED_PER_AUTHOR).select_from(authors).scalar_subquery()
    scanned = _from_cursor(select(Post.id, Post.timestamp, Post.user_id), direction).limit(size).subquery()
    theirs = select(scanned.c.id, scanned.c.timestamp).where(scanned.c.user_id.in_(select(authors.c.id)))
    near = nearest_first(theirs, direction, scanned.c.timestamp, scanned.c.id).limit(ROWS).cte("near")
    is_full = select(func.count() == ROWS).select_from(near).scalar_subquery()
    of_each = _candidates(authors, ~is_full, direction, is_postgresql=is_postgresql)
    candidates = union_all(select(near).where(is_full), of_each).cte("candidates")
    keyset = (candidates.c.timestamp, candidates.c.id)
    nearest = nearest_first(select(candidates), direction, *keyset).limit(ROWS).cte("nearest")
    posts = select_posts(nearest, nearest.c.id)
    # This LIMIT removes no rows. By estimated costs PostgreSQL chooses between one plan for all values and a
    # plan for each call's own: with this LIMIT it makes a plan only once, which saves 1 ms.
    return nearest_first(posts, direction, nearest.c.timestamp, nearest.c.id).limit(ROWS)


def _candidates(
    authors: CTE, gate: ColumnElement[bool], direction: Direction, *, is_postgresql: bool
) -> Select[tuple[int, datetime]]:
    """Return id and time of the nearest `rows` posts of each author who can be on the page.

    There are none unless `gate` holds.
    """
    bound: ColumnElement[Any] | None = None
    if is_postgresql:
        # An index scan reads all posts of an author in a page of the index, even if only the first is wanted.
        # The cutoff for some of the authors bounds that: the one for all is not farther away.
        size = select(func.count() // SAMPLED).select_from(authors).scalar_subquery()
        sample = select(authors.c.id).where(gate).limit(size).cte("sample")
        sampled = select(sample.c.id, _first(sample, direction)).cte("sampled").prefix_with("MATERIALIZED")
        bound = _cutoff("bound", sampled, direction)
    firsts = select(authors.c.id, _first(authors, direction, bound)).where(gate).cte("firsts")
    cutoff = _cutoff("cutoff", firsts, direction)
    theirs = aliased(Post)
    posts = (
        _from_cursor(select(theirs.id, theirs.timestamp), direction, theirs)
        .where(theirs.user_id == firsts.c.id, _reaches(direction, theirs.timestamp, cutoff))
        .limit(ROWS)
    )
    if is_postgresql:
        each = posts.lateral()
        candidates = select(each.c.id, each.c.timestamp).join_from(firsts, each, true())
    else:  # SQLite has no LATERAL; PostgreSQL would read every post for this form
        ids = posts.with_only_columns(theirs.id).correlate(firsts)
        candidates = select(Post.id, Post.timestamp).join_from(firsts, Post, Post.id.in_(ids))
    return candidates.where(_reaches(direction, firsts.c.time, cutoff))


def _first(
    authors: CTE, direction: Direction, bound: ColumnElement[Any] | None = None
) -> SQLColumnExpression[datetime]:
    """Return the time of the nearest post of each of `authors`, or NULL if there is none up to `bound`."""
    times = select(Post.timestamp).where(Post.user_id == authors.c.id)
    if bound is not None:
        times = times.where(_reaches(direction, Post.timestamp, bound))
    return _from_cursor(times, direction).limit(1).scalar_subquery().label("time")


def _cutoff(name: str, firsts: CTE, direction: Direction) -> ColumnElement[Any]:
    """Return the `rows`-th of the authors' nearest times: no post farther away can be on the page.

    With fewer authors there is no cutoff, and every post qualifies.
    """
    times = select(firsts.c.time).where(firsts.c.time.is_not(None))
    last = nearest_first(times, direction, firsts.c.time).limit(1).offset(ROWS - 1)
    everything = literal(MAX_TIME if direction is Direction.NEWER else MIN_TIME, StoredTime)
    cutoff = select(func.coalesce(last.scalar_subquery(), everything).label("time")).cte(name)
    return select(cutoff.c.time).scalar_subquery()


def _reaches(
    direction: Direction, time: SQLColumnExpression[Any], cutoff: ColumnElement[Any]
) -> ColumnElement[bool]:
    return time <= cutoff if direction is Direction.NEWER else time >= cutoff


EVERYBODY = _by_time()
BY_AUTHOR = _by_time(Post.user_id == AUTHOR)
BY_ID = Query(select_posts().where(Post.id == POST))
REPLIES = _by_time(Post.reply_to == POST)
TIMELINE = {
    direction: Query(_timeline(direction, is_postgresql=False), _timeline(direction, is_postgresql=True))
    for direction in Direction
}
