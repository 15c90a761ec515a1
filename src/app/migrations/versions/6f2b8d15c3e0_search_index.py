"""The search index, filled with the words of every post, and an index for the beginnings of names.

On SQLite it is an FTS5 table whose words are separated by spaces, on PostgreSQL a table with a GIN index.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import nullcontext

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "6f2b8d15c3e0"
down_revision = "d5b7f3a90c14"

BATCH = 1000
FILL = {
    "sqlite": "INSERT INTO post_search (rowid, words) VALUES (:id, :words)",
    "postgresql": "INSERT INTO post_search (post_id, words)"
    " VALUES (:id, array_to_tsvector(string_to_array(:words, ' ')))",
}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE post_search USING fts5 "
            """(words, tokenize="ascii tokenchars '#'", prefix=1, detail=none, columnsize=0)"""
        )
        op.execute(
            "CREATE TRIGGER post_search_delete AFTER DELETE ON post "
            "BEGIN DELETE FROM post_search WHERE rowid = old.id; END"
        )
        _fill(connection)
    else:
        op.create_table(
            "post_search",
            sa.Column(
                "post_id", sa.Integer(), sa.ForeignKey("post.id", ondelete="CASCADE"), primary_key=True
            ),
            sa.Column("words", TSVECTOR(), nullable=False),
        )
        _fill(connection)
        op.create_index("ix_post_search_words", "post_search", ["words"], postgresql_using="gin")
        op.create_index("ix_user_name_prefix", "user", [sa.text('username_canonical COLLATE "C"')])


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER post_search_delete")
    else:
        op.drop_index("ix_user_name_prefix", table_name="user")
    op.drop_table("post_search")


def _fill(connection: sa.Connection) -> None:
    post = sa.table("post", sa.column("id", sa.Integer), sa.column("body", sa.String))
    page = sa.select(post).order_by(post.c.id).limit(BATCH)
    fill = sa.text(FILL[connection.dialect.name])
    total = connection.execute(sa.select(sa.func.count()).select_from(post)).scalar_one()
    show = context.config.attributes.get("progress") if total > BATCH else None
    with show(length=total, label="Filling the search index") if show else nullcontext() as bar:
        rows = connection.execute(page).all()
        while rows:
            connection.execute(fill, [{"id": row.id, "words": " ".join(_words(row.body))} for row in rows])
            if bar is not None:
                bar.update(len(rows))
            rows = connection.execute(page.where(post.c.id > rows[-1].id)).all()


# The words of a text by today's rules, which stay the same here if the site's rules change.

ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\ufe00-\ufe0f]"
)
EXCEPTIONS: dict[str, str] = dict(zip("#йłøđħı\u00ad", ("#", "й", *"lodhi", ""), strict=True))
UNSPACED = (
    "\u3005\u3007\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
TOKEN = re.compile(r"((?<![a-z0-9])#+)?([^\W_][^\s#]*)")
PART = re.compile(f"[{UNSPACED}]+|[^{UNSPACED}]+")
SIGN = re.compile(f"[{UNSPACED}]")


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text[:2000]).casefold()
    folded = "".join(map(_fold, unicodedata.normalize("NFKC", text)))
    return list(dict.fromkeys(_parts(folded)))


def _fold(character: str) -> str:
    if character in EXCEPTIONS:
        return EXCEPTIONS[character]
    bare = unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", character)))
    is_part = all(each.isalnum() or unicodedata.category(each) in ("Mn", "Mc") for each in bare)
    return EXCEPTIONS.get(bare, bare) if is_part else " "


def _parts(folded: str) -> Iterator[str]:
    for sign, token in TOKEN.findall(folded):
        if sign:
            yield f"#{token}"[:100]
        for part in PART.findall(token):
            if SIGN.match(part):
                yield from (part[start : start + 2] for start in range(len(part)))
            else:
                yield part[:100]
