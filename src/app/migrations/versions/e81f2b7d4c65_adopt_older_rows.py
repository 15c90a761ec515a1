"""Repair rows of older Microblog editions: nullable columns, posts without authors, canonical names.

In the 2018 edition names, addresses, bodies, times and authors are nullable, hashes have 128 characters and
`followers` has no primary key. In both editions SQLite allows deleting an account that still has posts and
follows.
"""

import unicodedata
from collections.abc import Iterator
from itertools import chain, count

import sqlalchemy as sa
from alembic import op

revision = "e81f2b7d4c65"
down_revision = "c3d81f6b2a07"

CANONICAL_LENGTH = 255
NOBODY = "left-behind"
NOWHERE = "@unknown.invalid"
EXPLANATION = "Posts whose author is no longer known."
EXPLANATION_BEFORE = "Posts whose author was not known any more."  # of version 0.1.0

TEXTS = ("username", "email", "password_hash", "about_me", "username_canonical", "email_canonical")
user = sa.table("user", sa.column("id", sa.Integer), *(sa.column(name, sa.String) for name in TEXTS))
post = sa.table(
    "post",
    sa.column("id", sa.Integer),
    sa.column("body", sa.String),
    sa.column("timestamp", sa.DateTime),
    sa.column("user_id", sa.Integer),
)
followers = sa.table("followers", sa.column("follower_id", sa.Integer), sa.column("followed_id", sa.Integer))


def upgrade() -> None:
    is_2018 = _is_2018_edition()
    if is_2018:
        _fill_missing_names()
        _fill_missing_post_columns()
    _adopt_orphaned_posts()
    op.execute(followers.delete().where(sa.not_(_has_both_accounts())))
    if is_2018:
        _add_not_null()
        _add_followers_key()
    _fold("username")
    _fold("email")


def downgrade() -> None:
    """Leave the rows: older revisions, and Microblog itself, work with them."""


def _is_2018_edition() -> bool:
    """Return whether the tables are those of the 2018 edition."""
    inspector = sa.inspect(op.get_bind())
    columns = [column for table in ("user", "post") for column in inspector.get_columns(table)]
    required = {"username", "email", "body", "timestamp", "user_id"}
    return (
        any(column["name"] in required and column["nullable"] for column in columns)
        or any(getattr(column["type"], "length", None) == 128 for column in columns)
        or not inspector.get_pk_constraint("followers")["constrained_columns"]
    )


def _fill_missing_names() -> None:
    """Give accounts without a name or address a unique one that no mail reaches (RFC 2606)."""
    for column, stem, ending in ((user.c.username, "unnamed", ""), (user.c.email, "unknown", NOWHERE)):
        taken = _taken(column)
        for user_id in op.get_bind().scalars(sa.select(user.c.id).where(column.is_(None))).all():
            texts = (name + ending for name in _variants(f"{stem}-{user_id}"))
            unique = next(text for text in texts if text not in taken)
            taken.add(unique)
            op.execute(user.update().where(user.c.id == user_id).values({column.name: unique}))


def _taken(column: sa.ColumnClause[str]) -> set[str]:
    """Return the folded values of `column`, so that a new name does not equal an existing one."""
    return {_folded(text) for text in op.get_bind().scalars(sa.select(column)) if text is not None}


def _variants(name: str) -> Iterator[str]:
    """Return `name`, then `name-2`, `name-3` and so on."""
    return chain([name], (f"{name}-{number}" for number in count(2)))


def _fill_missing_post_columns() -> None:
    """Give posts without a body an empty one, and posts without a time that of the previous post."""
    before = post.alias()
    earlier = sa.select(sa.func.max(before.c.timestamp)).where(before.c.id < post.c.id)
    op.execute(post.update().where(post.c.body.is_(None)).values(body=""))
    op.execute(
        post.update()
        .where(post.c.timestamp.is_(None))
        .values(
            timestamp=sa.func.coalesce(
                earlier.scalar_subquery(), sa.literal_column("'1970-01-01 00:00:00.000000'", sa.DateTime)
            )
        )
    )


def _adopt_orphaned_posts() -> None:
    """Give posts without an author, or whose author was deleted, the author `left-behind`."""
    accounts = sa.select(user.c.id)
    orphaned = sa.or_(post.c.user_id.is_(None), post.c.user_id.not_in(accounts))
    connection = op.get_bind()
    if connection.scalar(sa.select(sa.func.count()).select_from(post).where(orphaned)):
        op.execute(post.update().where(orphaned).values(user_id=_placeholder_author(connection)))


def _placeholder_author(connection: sa.Connection) -> int:
    """Return the id of the account for orphaned posts: that of an earlier upgrade, or a new one."""
    earlier = sa.select(user.c.id).where(
        user.c.about_me.in_([EXPLANATION, EXPLANATION_BEFORE]),
        user.c.email.endswith(NOWHERE),
        user.c.password_hash.is_(None),
    )
    earlier = earlier.order_by(user.c.id).limit(1)
    account_id = connection.scalar(earlier)
    if account_id is None:
        names, addresses = _taken(user.c.username), _taken(user.c.email)
        free = (name for name in _variants(NOBODY) if name not in names and name + NOWHERE not in addresses)
        values = {"username": next(free), "about_me": EXPLANATION}
        values["email"] = values["username"] + NOWHERE
        connection.execute(user.insert().values(values))
        account_id = connection.scalar(earlier)
    assert isinstance(account_id, int)  # noqa: S101
    return account_id


def _has_both_accounts() -> sa.ColumnElement[bool]:
    """Return the condition that both accounts of a follow exist."""
    accounts = sa.select(user.c.id)
    ends = (followers.c.follower_id, followers.c.followed_id)
    return sa.and_(*(sa.and_(end.is_not(None), end.in_(accounts)) for end in ends))


def _add_not_null() -> None:
    with op.batch_alter_table("user") as batch:
        batch.alter_column("username", existing_type=sa.String(64), nullable=False)
        batch.alter_column("email", existing_type=sa.String(120), nullable=False)
        batch.alter_column("password_hash", existing_type=sa.String(128), type_=sa.String(256))
    with op.batch_alter_table("post") as batch:
        batch.alter_column("body", existing_type=sa.String(140), nullable=False)
        batch.alter_column("timestamp", existing_type=sa.DateTime(), nullable=False)
        batch.alter_column("user_id", existing_type=sa.Integer(), nullable=False)


def _add_followers_key() -> None:
    """Recreate `followers` with a primary key, without duplicates."""
    connection = op.get_bind()
    pairs = connection.execute(sa.select(followers.c.follower_id, followers.c.followed_id).distinct()).all()
    op.drop_table("followers")
    op.create_table(
        "followers",
        sa.Column("follower_id", sa.Integer(), nullable=False),
        sa.Column("followed_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["followed_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["follower_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("follower_id", "followed_id"),
    )
    op.create_index("ix_followers_followed_id", "followers", ["followed_id"])
    if pairs:
        connection.execute(followers.insert(), [dict(pair._mapping) for pair in pairs])


def _folded(text: str) -> str:
    """Return `text` folded by today's rules, which stay the same here if the site's rules change."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.strip()).casefold())


def _fold(field: str) -> None:
    """Store the canonical form of every `field`; if several are equal, the oldest account gets it."""
    connection = op.get_bind()
    column, folded = user.c[field], user.c[f"{field}_canonical"]
    rows = connection.execute(sa.select(user.c.id, column, folded).order_by(user.c.id)).all()
    taken = {form for _, _, form in rows if form is not None}
    changes = []
    for user_id, text, form in rows:
        canonical = _folded(text)
        if form is None and canonical not in taken and len(canonical) <= CANONICAL_LENGTH:
            taken.add(canonical)
            changes.append({"which": user_id, "form": canonical})
    statement = (
        user.update().where(user.c.id == sa.bindparam("which")).values({folded.name: sa.bindparam("form")})
    )
    if changes:
        connection.execute(statement, changes)
