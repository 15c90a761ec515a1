"""Find posts that contain all words of a query, newest first, and people whose names begin with it.

SQLite's FTS5 reads the posts of a word from the newest one on, and stops when the page is full. PostgreSQL's
GIN index has no order: for a common word it returns all its posts. The planner's other way, from the newest
post on, reads nearly all posts for a word that only old ones have (193 ms among a million). So PostgreSQL
first looks through the newest SCANNED posts, and asks the GIN index only if these do not fill the page. A
page takes a few milliseconds on both databases (benchmarks/search.py).
"""

from sqlalchemy import (
    CompoundSelect,
    Integer,
    Select,
    SQLColumnExpression,
    String,
    Text,
    bindparam,
    cast,
    column,
    func,
    select,
    table,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from app.accounts.models import User
from app.accounts.names import canonical
from app.database import Query, Statement, fetch
from app.posts import people
from app.posts.models import Post
from app.posts.people import PersonEntry
from app.posts.queries import ID, ROWS, PostEntry, entries, select_posts
from app.posts.words import is_sign, words
from app.web.paging import MAX_ID, Page, PageCursor, build_page

MAX_WORDS = 10
SCANNED = 5000
MAX_PEOPLE = 5
LAST_CHARACTER = "\U0010ffff"

MATCH = bindparam("match", type_=Text)
BEGIN = bindparam("begin", type_=String)
END = bindparam("end", type_=String)


def query_words(text: str) -> list[str]:
    """Return the first MAX_WORDS different words of a query, without those that another one implies.

    `#tag` implies "tag", and a pair of Chinese signs implies its last one.
    """
    every = words(text)
    implied = {word[1:] for word in every if word.startswith("#") or is_sign(word[1:])}
    return [word for word in every if word not in implied][:MAX_WORDS]


async def posts_with(wanted: list[str], cursor: PageCursor | None, size: int) -> Page[PostEntry]:
    """Return a page of `size` posts with all words in `wanted`, which must not be empty."""
    query = NEWER if cursor and cursor.newer else OLDER
    start = cursor.id if cursor else MAX_ID
    rows = await fetch(query, match=_match(wanted), id=start, rows=size + 1)
    page = build_page(list(entries(rows)), cursor, size)
    return page or await posts_with(wanted, None, size)


def _match(wanted: list[str]) -> str:
    """Return FTS5's expression for posts with all words; a lone sign also matches the pairs it begins.

    Words contain no quotation marks.
    """
    return " ".join(f'"{word}"*' if is_sign(word) else f'"{word}"' for word in wanted)


async def people_called(text: str, reader_id: int) -> list[PersonEntry]:
    """Return up to MAX_PEOPLE people whose name begins with `text`, in any case; none for several words."""
    begin = canonical(text).removeprefix("@")
    if not begin or begin.split() != [begin]:
        return []
    rows = await fetch(PEOPLE, begin=begin, end=begin + LAST_CHARACTER, reader=reader_id)
    return people.entries(rows)


def _on_sqlite(*, newer: bool) -> Statement:
    """Return the SELECT of a page; entries that have lost their post are skipped."""
    index = table("post_search", column("rowid", Integer), column("post_search", Text))
    id_ = index.c.rowid
    found = (
        select(id_.label("id"))
        .where(index.c.post_search.op("MATCH")(MATCH), id_ > ID if newer else id_ < ID)
        .where(select(Post.id).where(Post.id == id_).exists())
        .order_by(id_.asc() if newer else id_.desc())
        .limit(ROWS)
    )
    return _posts(found, newer=newer)


def _on_postgresql(*, newer: bool) -> Statement:
    """Return the SELECT of a page (see the module's docstring)."""
    index = table("post_search", column("post_id", Integer), column("words", TSVECTOR))
    id_ = index.c.post_id
    quoted = func.replace(func.replace(func.replace(MATCH, '"', "'"), " ", " & "), "*", ":*")
    query = select(cast(quoted, TSQUERY)).scalar_subquery()  # evaluated once
    beyond = id_ > ID if newer else id_ < ID

    scanned = select(index).where(beyond).order_by(id_.asc() if newer else id_.desc()).limit(SCANNED)
    nearest = scanned.subquery()
    near = (
        select(nearest.c.post_id.label("id"))
        .where(nearest.c.words.op("@@")(query))
        .order_by(nearest.c.post_id.asc() if newer else nearest.c.post_id.desc())
        .limit(ROWS)
        .cte("near")
        .prefix_with("MATERIALIZED")
    )
    is_full = select(func.count() >= ROWS).select_from(near).scalar_subquery()
    unindexed = id_ + 0  # the planner would read posts in the order of their ids, and not use the GIN index
    every = (
        select(id_.label("id"))
        .where(index.c.words.op("@@")(query), beyond, ~is_full)
        .order_by(unindexed.asc() if newer else unindexed.desc())
        .limit(ROWS)
        .cte("every")
        .prefix_with("MATERIALIZED")
    )
    return _posts(union_all(select(near.c.id).where(is_full), select(every.c.id)), newer=newer)


def _posts(found: Select[tuple[int]] | CompoundSelect[tuple[int]], *, newer: bool) -> Statement:
    """Return the SELECT of the ROWS posts with the nearest ids of `found`."""
    ids = found.cte("found")
    nearest = (
        select(ids.c.id).order_by(ids.c.id.asc() if newer else ids.c.id.desc()).limit(ROWS).cte("nearest")
    )
    return select_posts(nearest, nearest.c.id).order_by(Post.id.asc() if newer else Post.id.desc())


def _people(name: SQLColumnExpression[str | None]) -> Statement:
    """Return the SELECT of people whose canonical `name`, compared by code point, begins with BEGIN."""
    begins = (name >= BEGIN, name < END)
    return select(*people.COLUMNS).where(*begins).order_by(name).limit(MAX_PEOPLE)


OLDER = Query(_on_sqlite(newer=False), _on_postgresql(newer=False))
NEWER = Query(_on_sqlite(newer=True), _on_postgresql(newer=True))
PEOPLE = Query(_people(User.username_canonical), _people(User.username_canonical.collate("C")))
