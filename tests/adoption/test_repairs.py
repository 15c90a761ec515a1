"""What `db upgrade` stores in place of missing, taken and binary values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from app import create_app
from app.migrations import run as migrations
from tests.adoption.old_files import EDITIONS, PASSWORD, PBKDF2_HASH, change, make_old_file, rows
from tests.clients import Visitor
from tests.inspection import database_of

MICROBLOGS_OWN = "ae346256b650"


AUTHORS = "SELECT body, username, email FROM post JOIN user ON user.id = user_id ORDER BY post.id"


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    return make_old_file(tmp_path / "app.db", "2018")


@pytest.fixture
def database_url(old_file: Path) -> str:
    return f"sqlite:///{old_file}"


async def upgrade(config: dict[str, Any], *, back: bool = False) -> None:
    """Run `microblog db upgrade`, or with `back` the downgrade to Microblog's own revision."""
    database = database_of(create_app(config))
    if back:
        await migrations.downgrade(database, MICROBLOGS_OWN)
    else:
        await migrations.upgrade(database)
        await migrations.check(database)
    await database.dispose()


async def test_missing_names_and_addresses_get_unused_ones(config: dict[str, Any], old_file: Path) -> None:
    change(
        old_file,
        """INSERT INTO user (id, username, email) VALUES (20, NULL, NULL), (21, 'unnamed-20', 'a@example.com'),
        (22, 'Unnamed-20-2', 'Unknown-20@unknown.invalid'), (23, NULL, NULL)""",
    )
    await upgrade(config)
    given = "SELECT username, email, username_canonical, email_canonical FROM user WHERE id IN (20, 23)"
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
async def test_orphaned_posts_get_a_new_author(
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


async def test_orphaned_posts_get_the_same_author_after_a_downgrade(
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


class TestBlobs:
    """BLOBs and invalid UTF-8 in text columns: stored and shown as text, never an error."""

    @pytest.fixture(params=sorted(EDITIONS))
    def old_file(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        return make_old_file(tmp_path / "app.db", request.param)

    @pytest.fixture
    def database_url(self, old_file: Path) -> str:
        change(old_file, BLOBS)
        return f"sqlite:///{old_file}"

    async def test_an_upgrade_stores_blobs_as_text(self, adopted: Quart, old_file: Path) -> None:
        await assert_pages_show_text(adopted)
        people = "SELECT username, email, about_me FROM user WHERE id = 30"
        assert rows(old_file, people) == [("blob", "blob@example.com", "h\ufffdi")]

    async def test_a_taken_value_gets_a_suffix(self, adopted: Quart, old_file: Path) -> None:
        people = "SELECT username, email FROM user WHERE id IN (1, 31) ORDER BY id"
        assert rows(old_file, people) == [
            ("susan", "susan@example.com"),
            ("susan-31.invalid", "susan@example.com-31.invalid"),
        ]
        assert (await Visitor(adopted).log_in("susan", PASSWORD)).location == "/index"

    async def test_blobs_written_after_the_upgrade_are_shown_as_text(
        self, adopted: Quart, old_file: Path
    ) -> None:
        change(old_file, LATER_BLOBS)
        await assert_pages_show_text(adopted)
        await migrations.upgrade(database_of(adopted))
        types = "SELECT DISTINCT typeof(body) FROM post UNION SELECT typeof(email) FROM user"
        assert rows(old_file, types) == [("text",)]
        await assert_pages_show_text(adopted)
