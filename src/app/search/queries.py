"""Find posts that contain all words of a query, newest first, and people whose names begin with it.

SQLite's FTS5 reads the posts of a word from the newest one on, and stops when the page is full. PostgreSQL's
GIN index has no order: for a common word it returns all its posts. The planner's other way, from the newest
post on, reads nearly all posts for a word that only old ones have (193 ms among a million). So PostgreSQL
first looks through the nearest SCANNED posts, and asks the GIN index only if these do not fill the page. A
page takes a few milliseconds on both databases (benchmarks/search.py).

If there are too few posts beyond a cursor, the first page is shown instead. To find out that there are too
few takes as long as to find the first page, so one statement does both: it returns the posts beyond the
cursor and, if they do not fill a page, the newest others.
"""

from operator import attrgetter

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    SQLColumnExpression,
    String,
    Text,
    bindparam,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from app.accounts.models import User
from app.accounts.names import canonical
from app.database import Query, Statement, fetch
from app.posts import people
from app.posts.models import Post
from app.posts.people import PersonEntry
from app.posts.queries import ID, ROWS, Direction, PostEntry, entries, nearest_first, select_posts
from app.posts.words import is_sign, words
from app.web.paging import Page, PageCursor, build_page

MAX_WORDS = 10
SCANNED = 5000
MAX_PEOPLE = 5
LAST_CHARACTER = "\U0010ffff"

MATCH = bindparam("match", type_=Text)
BEGIN = bindparam("begin", type_=String)
END = bindparam("end", type_=String)
ABOVE_IDS = literal(2**32, BigInteger)
NOTHING = '""'  # no post matches this


def query_words(text: str) -> list[str]:
    """Return the first MAX_WORDS different words of a query, without those that another one implies.

    `#tag` implies "tag", and a pair of Chinese signs implies its last one.
    """
    every = words(text)
    implied = {word[1:] for word in every if word.startswith("#") or is_sign(word[1:])}
    return [word for word in every if word not in implied][:MAX_WORDS]


async def posts_with(wanted: list[str], cursor: PageCursor | None, size: int) -> Page[PostEntry]:
    """Return a page of `size` posts with all words in `wanted`, which must not be empty."""
    position = {} if cursor is None else {"id": cursor.id}
    found = await fetch(POSTS[Direction.of(cursor)], match=_match(wanted), rows=size + 1, **position)
    rows = sorted(entries(found), key=attrgetter("id"), reverse=True)
    if cursor is None:
        beyond = rows
    elif cursor.newer:
        beyond = [row for row in reversed(rows) if row.id > cursor.id]
    else:
        beyond = [row for row in rows if row.id < cursor.id]
    return build_page(beyond, cursor, size) or build_page(rows, None, size) or Page(())


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


def _on_sqlite(direction: Direction) -> Statement:
    """Return the SELECT of a page. Entries that have lost their post are skipped.

    FTS5 looks for the first match among all posts even if it may read only those beyond a cursor: 28 ms for
    two words of half of all posts that never stand together. To do so only once, the newest posts are read
    first. If they do not fill a page, there are no others.
    """
    index = table("post_search", column("rowid", Integer), column("post_search", Text))
    id_, matches = index.c.rowid, index.c.post_search.op("MATCH")
    posts = select(id_.label("id")).where(select(Post.id).where(Post.id == id_).exists()).limit(ROWS)
    newest = posts.where(matches(MATCH)).order_by(id_.desc()).cte("newest")
    if direction is Direction.FIRST:
        return _posts(newest, direction)
    match = case((_count(newest) == ROWS, MATCH), else_=NOTHING)
    beyond = posts.where(matches(match), _beyond(id_, direction))
    others = nearest_first(beyond, direction, id_).subquery()
    return _posts(union(select(newest.c.id), select(others.c.id)).cte("found"), direction)


def _on_postgresql(direction: Direction, scanned: int) -> Statement:
    """Return the SELECT of a page (see the module's docstring)."""
    index = table("post_search", column("post_id", Integer), column("words", TSVECTOR))
    id_, matches = index.c.post_id, index.c.words.op("@@")
    quoted = func.replace(func.replace(func.replace(MATCH, '"', "'"), " ", " & "), "*", ":*")
    query = select(cast(quoted, TSQUERY))

    beyond = select(index) if direction is Direction.FIRST else select(index).where(_beyond(id_, direction))
    nearest = nearest_first(beyond, direction, id_).limit(_literal(scanned)).subquery()
    found = select(nearest.c.post_id.label("id")).where(nearest.c.words.op("@@")(query.scalar_subquery()))
    near = nearest_first(found, direction, nearest.c.post_id).limit(ROWS).cte("near")

    is_full = _count(near) == ROWS
    query_or_null = query.where(~is_full).scalar_subquery()  # nothing matches NULL
    # OFFSET 0, or else the planner would read posts in the order of their ids, not those of the GIN index.
    every = (
        select(_rank(id_, direction).label("rank"))
        .where(matches(query_or_null))
        .offset(_literal(0))
        .subquery()
    )
    best = select(every.c.rank).order_by(every.c.rank.desc()).limit(ROWS).subquery()
    ids = select(_ranked_id(best.c.rank, direction))
    return _posts(union_all(select(near.c.id).where(is_full), ids).cte("found"), direction)


def _posts(found: CTE, direction: Direction) -> Statement:
    """Return the SELECT of the ROWS posts of `found` with the highest ranks, in any order.

    The last LIMIT is there for the planner, as in a timeline (see app.posts.queries).
    """
    best = select(found.c.id).order_by(_rank(found.c.id, direction).desc()).limit(ROWS).cte("best")
    return select_posts(best, best.c.id).limit(ROWS)


def _rank(id_: SQLColumnExpression[int], direction: Direction) -> SQLColumnExpression[int]:
    """Return a number that is higher for posts to read first: those beyond the cursor, then the newest.

    PostgreSQL sorts 500,000 single numbers in half the time of rows with two columns.
    """
    if direction is Direction.OLDER:
        return case((id_ < ID, id_ + ABOVE_IDS), else_=id_)
    if direction is Direction.NEWER:
        return case((id_ > ID, ABOVE_IDS + ABOVE_IDS - id_), else_=id_)
    return id_


def _ranked_id(rank: ColumnElement[int], direction: Direction) -> ColumnElement[int]:
    """Return the id of the post with this rank."""
    if direction is Direction.NEWER:
        return func.least(rank, ABOVE_IDS + ABOVE_IDS - rank)
    return rank % ABOVE_IDS


def _beyond(id_: SQLColumnExpression[int], direction: Direction) -> ColumnElement[bool]:
    return id_ > ID if direction is Direction.NEWER else id_ < ID


def _literal(number: int) -> ColumnElement[int]:
    """Return a number that stands in the SQL, so that PostgreSQL's planner knows it."""
    return literal_column(str(number), Integer)


def _count(rows: CTE) -> ColumnElement[int]:
    return select(func.count()).select_from(rows).scalar_subquery()


def _people(name: SQLColumnExpression[str | None]) -> Statement:
    """Return the SELECT of people whose canonical `name`, compared by code point, begins with BEGIN."""
    begins = (name >= BEGIN, name < END)
    return select(*people.COLUMNS).where(*begins).order_by(name).limit(MAX_PEOPLE)


def post_queries(scanned: int) -> dict[Direction, Query]:
    """Return the queries for a page of posts; on PostgreSQL they look through `scanned` posts first."""
    return {each: Query(_on_sqlite(each), _on_postgresql(each, scanned)) for each in Direction}


POSTS = post_queries(SCANNED)
PEOPLE = Query(_people(User.username_canonical), _people(User.username_canonical.collate("C")))
