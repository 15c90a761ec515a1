"""BLOBs and invalid UTF-8 in the text columns of an SQLite file: shown as text, never an error."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from quart import Quart

from app.migrations import run as migrations
from tests.adoption.old_files import EDITIONS, PASSWORD, PBKDF2_HASH, make_old_file, rows
from tests.clients import Visitor
from tests.inspection import database_of

BLOBS = f"""
INSERT INTO user (id, username, email, password_hash, about_me) VALUES
    (30, CAST('blob' AS BLOB), CAST('blob@example.com' AS BLOB), CAST('{PBKDF2_HASH}' AS BLOB), x'68ff69'),
    (31, CAST('susan' AS BLOB), CAST('susan@example.com' AS BLOB), NULL, CAST(x'68ff69' AS TEXT));
INSERT INTO post (id, body, timestamp, user_id) VALUES
    (30, x'666972737420ff00706f7374', '2018-05-04 09:00:00.000000', 30),
    (31, CAST(x'7365636f6e6420ff706f7374' AS TEXT), '2018-05-04 09:00:00.000000', 30);
"""
LATER_BLOBS = """
UPDATE post SET body = CAST(body AS BLOB);
UPDATE user SET about_me = CAST(x'68ff69' AS BLOB), password_hash = CAST(password_hash AS BLOB);
UPDATE user SET email = CAST(email AS BLOB);
"""


@pytest.fixture(params=sorted(EDITIONS))
def old_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_old_file(tmp_path / "app.db", request.param)


@pytest.fixture
def database_url(old_file: Path) -> str:
    execute(old_file, BLOBS)
    return f"sqlite:///{old_file}"


def execute(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


async def assert_pages_show_text(site: Quart) -> None:
    visitor = Visitor(site)
    assert (await visitor.log_in("blob", PASSWORD)).location == "/index"
    for path in ("/index", "/explore", "/user/blob"):
        page = await visitor.get(path)
        assert page.status == 200, path
        assert "first \ufffd" in page.text
        assert "second \ufffdpost" in page.text
    assert "h\ufffdi" in (await visitor.get("/user/blob")).text
    for path in ("/account", "/edit_profile", "/account/data", "/user/susan"):
        assert (await visitor.get(path)).status < 500, path


async def test_an_upgrade_stores_blobs_as_text(adopted: Quart, old_file: Path) -> None:
    await assert_pages_show_text(adopted)
    people = "SELECT username, email, about_me FROM user WHERE id = 30"
    assert rows(old_file, people) == [("blob", "blob@example.com", "h\ufffdi")]


async def test_a_value_that_is_taken_gets_an_ending(adopted: Quart, old_file: Path) -> None:
    people = "SELECT username, email FROM user WHERE id IN (1, 31) ORDER BY id"
    assert rows(old_file, people) == [
        ("susan", "susan@example.com"),
        ("susan-31.invalid", "susan@example.com-31.invalid"),
    ]
    assert (await Visitor(adopted).log_in("susan", PASSWORD)).location == "/index"


async def test_blobs_written_after_the_upgrade_are_shown_as_text(
    adopted: Quart, old_file: Path
) -> None:
    execute(old_file, LATER_BLOBS)
    await assert_pages_show_text(adopted)
    await migrations.upgrade(database_of(adopted))
    types = "SELECT DISTINCT typeof(body) FROM post UNION SELECT typeof(email) FROM user"
    assert rows(old_file, types) == [("text",)]
    await assert_pages_show_text(adopted)
