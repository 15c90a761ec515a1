"""What `db upgrade` gives rows that lack something is nobody else's, whatever an old file holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app import create_app
from app.migrations import run as migrations
from tests.adoption.old_files import PBKDF2_HASH, make_old_file, rows
from tests.inspection import database_of

MICROBLOGS_OWN = "ae346256b650"
AUTHORS = "SELECT body, username, email FROM post JOIN user ON user.id = user_id ORDER BY post.id"


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    return make_old_file(tmp_path / "app.db", "2018")


@pytest.fixture
def database_url(old_file: Path) -> str:
    return f"sqlite:///{old_file}"


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


async def upgrade(config: dict[str, Any], *, back: bool = False) -> None:
    """Run `microblog db upgrade`, or with `back` the downgrade to Microblog's own revision."""
    database = database_of(create_app(config))
    if back:
        await migrations.downgrade(database, MICROBLOGS_OWN)
    else:
        await migrations.upgrade(database)
        await migrations.check(database)
    await database.dispose()


async def test_names_and_addresses_for_those_without_are_nobodys(
    config: dict[str, Any], old_file: Path
) -> None:
    change(
        old_file,
        """INSERT INTO user (id, username, email) VALUES (20, NULL, NULL), (21, 'unnamed-20', 'a@example.com'),
        (22, 'Unnamed-20-2', 'Unknown-20@unknown.invalid'), (23, NULL, NULL)""",
    )
    await upgrade(config)
    given = (
        "SELECT username, email, username_canonical, email_canonical FROM user WHERE id IN (20, 23)"
    )
    assert rows(old_file, given) == [
        *(("unnamed-20-3", "unknown-20-2@unknown.invalid") * 2,),
        *(("unnamed-23", "unknown-23@unknown.invalid") * 2,),
    ]


@pytest.mark.parametrize(
    ("username", "email"),
    [
        ("trudy", "left-behind@unknown.invalid"),
        ("trudy", "Left-Behind@unknown.invalid"),
        ("left-behind", "trudy@example.com"),
        ("Left-Behind", "trudy@example.com"),
        ("left-behind", "left-behind@unknown.invalid"),
    ],
)
async def test_orphans_get_an_author_of_their_own(
    config: dict[str, Any], old_file: Path, username: str, email: str
) -> None:
    change(
        old_file,
        f"""INSERT INTO user (id, username, email, password_hash) VALUES (20, '{username}', '{email}', '{PBKDF2_HASH}');
        UPDATE post SET user_id = 99 WHERE id = 1; UPDATE post SET user_id = NULL WHERE id = 2""",
    )
    await upgrade(config)
    keeper = ("left-behind-2", "left-behind-2@unknown.invalid")
    assert [author for _, *author in rows(old_file, AUTHORS)[:2]] == [[*keeper]] * 2
    assert rows(old_file, "SELECT username, email FROM user WHERE id = 20") == [(username, email)]


async def test_the_author_of_orphans_is_the_same_after_going_back(
    config: dict[str, Any], old_file: Path
) -> None:
    change(old_file, "UPDATE post SET user_id = 99 WHERE id = 1")
    await upgrade(config)
    await upgrade(config, back=True)
    change(old_file, "UPDATE post SET user_id = 99 WHERE id = 2")
    await upgrade(config)
    keeper = ("left-behind", "left-behind@unknown.invalid")
    assert [tuple(author) for _, *author in rows(old_file, AUTHORS)[:2]] == [keeper] * 2
    left = "SELECT username FROM user WHERE username LIKE 'left%'"
    assert rows(old_file, left) == [("left-behind",)]
