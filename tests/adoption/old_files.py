"""Databases as the 2018 and 2024 editions of Microblog make them at each revision, with people and loose ends."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from hashlib import pbkdf2_hmac, scrypt
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    insert,
    text,
)

PASSWORD = "old password"
SALT = "saltsalt"
PBKDF2_HASH = (
    f"pbkdf2:sha256:1000${SALT}$" + pbkdf2_hmac("sha256", PASSWORD.encode(), SALT.encode(), 1000).hex()
)
SCRYPT_HASH = (
    f"scrypt:1024:8:1${SALT}$" + scrypt(PASSWORD.encode(), salt=SALT.encode(), n=1024, r=8, p=1).hex()
)
EDITIONS = ("2018", "2024")
V10, V14, V21_MESSAGES, V21, V22, V23 = REVISIONS = (
    *("ae346256b650", "2b017edaa91f", "d049de007ccf"),
    *("f7ac3d27bb1d", "c81bac34faab", "834b1a697901"),
)
"""Microblog's revisions from v0.10 on. Each is the last one of a version, except `V21_MESSAGES`."""

ODD_NAMES = ("a/b", "..", "x" * 64, "login")
NOBODY = 99  # the id of a deleted account, which SQLite leaves in other tables


def schema(edition: str, revision: str) -> MetaData:
    """Return the tables of an edition at a revision, as its migrations create them."""
    is_new, has = edition == "2024", REVISIONS[: REVISIONS.index(revision) + 1]
    metadata = MetaData()

    def required(name: str, kind: Any, *more: Any, **options: Any) -> Column[Any]:
        """Return a column that only the 2018 edition makes nullable."""
        return Column(name, kind, *more, nullable=not is_new, **options)

    def user_id(name: str, **options: Any) -> Column[Any]:
        return required(name, Integer, ForeignKey("user.id"), **options)

    def table(since: str, name: str, *columns: Column[Any] | None) -> None:
        if since in has:
            Table(name, metadata, *(column for column in columns if column is not None))

    def later(since: str, column: Column[Any]) -> Column[Any] | None:
        return column if since in has else None

    table(V10, "alembic_version", Column("version_num", String(32), primary_key=True))
    table(
        *(V10, "user", Column("id", Integer, primary_key=True)),
        required("username", String(64), index=True, unique=True),
        required("email", String(120), index=True, unique=True),
        Column("password_hash", String(256 if is_new else 128)),
        Column("about_me", String(140)),
        Column("last_seen", DateTime),
        later(V21_MESSAGES, Column("last_message_read_time", DateTime)),
        later(V23, Column("token", String(32), index=True, unique=True)),
        later(V23, Column("token_expiration", DateTime)),
    )
    table(
        *(V10, "post", Column("id", Integer, primary_key=True)),
        required("body", String(140)),
        required("timestamp", DateTime, index=True),
        user_id("user_id", index=is_new),
        later(V14, Column("language", String(5))),
    )
    table(
        *(V10, "followers"),
        user_id("follower_id", primary_key=is_new),
        user_id("followed_id", primary_key=is_new),
    )
    table(
        *(V21_MESSAGES, "message", Column("id", Integer, primary_key=True)),
        user_id("sender_id", index=is_new),
        user_id("recipient_id", index=is_new),
        required("body", String(140)),
        required("timestamp", DateTime, index=True),
    )
    table(
        *(V21, "notification", Column("id", Integer, primary_key=True)),
        required("name", String(128), index=True),
        user_id("user_id", index=is_new),
        required("timestamp", Float, index=True),
        required("payload_json", Text),
    )
    table(
        *(V22, "task", Column("id", String(36), primary_key=True)),
        required("name", String(128), index=True),
        Column("description", String(128)),
        user_id("user_id"),
        required("complete", Boolean(create_constraint=not is_new)),
    )
    return metadata


def day(number: int, time: str) -> datetime:
    return datetime.fromisoformat(f"2018-05-{number:02} {time}")


READ_AT = day(1, "12:00:00.250000")
UNREAD = "unread_message_count"
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "user": [
        (
            1,
            "susan",
            "susan@example.com",
            SCRYPT_HASH,
            "Hi there",
            day(1, "10:00:00.123456"),
            READ_AT,
            "t" * 32,
        ),
        (2, "david", "David@Example.com", PBKDF2_HASH, None, day(1, "10:00:00")),
        (3, "Susan", "SUSAN@example.com", PBKDF2_HASH),
        (4, "hashless", "hashless@example.com"),
        *((10 + n, name, f"odd{n}@example.com", PBKDF2_HASH) for n, name in enumerate(ODD_NAMES)),
    ],
    "post": [
        (1, "my first post", day(1, "09:00:00"), 1, "en"),
        (2, "David speaks \N{PARTY POPPER}", day(1, "09:30:00.500000"), 2, ""),
        (3, "the other Susan", day(1, "09:45:00"), 3, "zh-cn"),
    ],
    "followers": [(1, 2), (2, 1), (1, 10)],
    "message": [
        (1, 2, 1, "hello susan", day(1, "11:00:00")),
        (2, 1, 2, "hello david", day(1, "11:30:00")),
        (3, 2, 1, "are you there?", day(1, "12:30:00")),
        (4, 2, 1, "\N{PARTY POPPER}", day(1, "12:30:00")),
    ],
    "notification": [
        (1, UNREAD, 1, 1525176000.5, "1"),
        (2, UNREAD, 1, 1525176060.25, "2"),
        (3, "task_progress", 1, 1525176000.0, '{"task_id": "a", "progress": 40}'),
    ],
    "task": [
        ("00000000-0000-4000-8000-000000000001", "export_posts", "Exporting posts...", 1, True),
        ("00000000-0000-4000-8000-000000000002", "export_posts", "Exporting posts...", 2, False),
    ],
}
LOOSE_ENDS: dict[str, list[tuple[Any, ...]]] = {
    "user": [(20, None, "nameless@example.com"), (21, "unreachable", None)],
    "post": [
        (4, None, day(2, "09:00:00"), 1),
        (5, "when?", None, 1),
        (6, "whose?", day(3, "09:00:00"), None),
        (7, "gone", day(3, "10:00:00"), NOBODY),
    ],
    "followers": [(1, 2), (None, 1), (1, None), (NOBODY, 1)],
    "message": [
        (10, None, 1, "from whom?", day(2, "09:00:00")),
        (11, 1, None, "to whom?", day(2, "10:00:00")),
        (12, 2, 1, None, day(2, "11:00:00")),
        (13, 2, 1, "when?", None),
        (14, None, None, None, None),
        (15, NOBODY, 1, "from somebody who left", day(3, "09:00:00")),
        (16, 1, NOBODY, "to somebody who left", day(3, "10:00:00")),
    ],
    "notification": [
        (10, None, 2, 1.5, "1"),
        (11, UNREAD, None, 1.5, "1"),
        (12, UNREAD, 2, None, "2"),
        (13, UNREAD, 2, 1.5, None),
        (14, None, None, None, None),
        (15, UNREAD, NOBODY, 1.5, "1"),
    ],
    "task": [
        ("no name", None, None, 1, True),
        ("nobody's", "export_posts", None, None, True),
        ("neither", "export_posts", None, 1, None),
        ("nothing", None, None, None, None),
        ("of somebody who left", "export_posts", None, NOBODY, False),
    ],
}
"""Rows that lack something, or that refer to an account that was deleted."""


def fill(connection: Connection, edition: str, revision: str, *, loose_ends: bool = False) -> None:
    """Create the tables and rows in an empty database, with those LOOSE_ENDS that the tables take."""
    is_sqlite = connection.dialect.name == "sqlite"
    metadata = schema(edition, revision)
    metadata.create_all(connection)
    connection.execute(insert(metadata.tables["alembic_version"]).values(version_num=revision))
    for table in metadata.sorted_tables:
        columns = list(table.columns)
        rows = ROWS.get(table.name, []) + (LOOSE_ENDS.get(table.name, []) if loose_ends else [])
        for row in rows if edition == "2018" else dict.fromkeys(rows):  # twice only without a primary key
            values = dict(zip((column.name for column in columns), row, strict=False))
            is_complete = all(column.nullable or values.get(column.name) is not None for column in columns)
            if is_complete and (is_sqlite or NOBODY not in row):
                if edition == "2018" and values.get("password_hash") == SCRYPT_HASH:
                    values["password_hash"] = PBKDF2_HASH  # its column takes no more than 128 characters
                connection.execute(insert(table).values(values))
        if not is_sqlite and "id" in table.columns and table.name != "task":
            last = f"(SELECT max(id) FROM {table.name!r})".replace("'", '"')
            connection.execute(text(f"SELECT setval('{table.name}_id_seq', {last})"))


def make_old_file(path: Path, edition: str, revision: str = V10, *, loose_ends: bool = False) -> Path:
    """Write an SQLite file of `edition` at `revision`, and return its path."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        fill(connection, edition, revision, loose_ends=loose_ends)
    engine.dispose()
    return path


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of `query` in the file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def change(path: Path, script: str) -> None:
    """Run statements on the file, as another program."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
