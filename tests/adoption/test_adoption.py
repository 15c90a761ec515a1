"""Old Microblog files of both editions are upgraded and keep working."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import op
from quart import Quart

from app import create_app, mail, outbox
from app.accounts.names import person_path
from app.database import reading
from app.migrations import adoption
from app.migrations import run as migrations
from app.migrations.adoption import NotMicroblog
from tests.adoption.old_files import EDITIONS, ODD_NAMES, PASSWORD, make_old_file, rows
from tests.clients import Visitor
from tests.inspection import database_of

MICROBLOGS_OWN = "ae346256b650"


MEMBERS = """SELECT u.username, u.email, u.password_hash, u.about_me, u.last_seen FROM user u ORDER BY id"""


POSTS = "SELECT id, body, timestamp, user_id FROM post ORDER BY id"


FOLLOWS = "SELECT follower_id, followed_id FROM followers ORDER BY 1, 2"


@pytest.fixture(params=sorted(EDITIONS))
def edition(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def old_file(tmp_path: Path, edition: str) -> Path:
    return make_old_file(tmp_path / "app.db", edition)


@pytest.fixture
def database_url(old_file: Path) -> str:
    return f"sqlite:///{old_file}"


async def test_people_log_in_with_their_old_passwords_and_find_everything(adopted: Quart) -> None:
    for name in ("susan", "david", "Susan", *ODD_NAMES):
        visitor = Visitor(adopted)
        page = await visitor.log_in(name, PASSWORD)
        assert page.location == "/index", name
        page = await visitor.get("/explore")
        for body in ("my first post", "David speaks \N{PARTY POPPER}", "the other Susan"):
            assert body in page.text
        page = await visitor.get(person_path("user", name))
        assert page.title == f"{name} - Microblog"
    susan = Visitor(adopted)
    await susan.log_in("susan", PASSWORD)
    page = await susan.get("/index")
    assert "David speaks" in page.text
    assert "the other Susan" not in page.text
    page = await susan.get("/user/susan")
    assert "Hi there" in page.text
    assert "1 follower</a>" in page.text
    assert "2 following</a>" in page.text


async def test_wrong_passwords_are_refused_and_old_hashes_are_upgraded(
    adopted: Quart, old_file: Path
) -> None:
    visitor = Visitor(adopted)
    assert (await visitor.log_in("david", "wrong")).location is None
    assert (await visitor.log_in("hashless", "")).location is None
    assert (await visitor.log_in("david", PASSWORD)).location == "/index"
    [(stored,)] = rows(old_file, "SELECT password_hash FROM user WHERE username = 'david'")
    assert str(stored).startswith(adopted.config["PASSWORD_HASH_METHOD"] + "$")
    assert (await Visitor(adopted).log_in("DAVID", PASSWORD)).location == "/index"


@pytest.mark.parametrize(
    ("typed", "reached"),
    [
        ("susan@example.com", "susan@example.com"),
        ("SUSAN@example.com", "SUSAN@example.com"),
        ("Susan@Example.com", "susan@example.com"),
        ("david@example.com", "David@Example.com"),
        ("hashless@example.com", "hashless@example.com"),
    ],
)
async def test_reset_mails_reach_the_stored_address(adopted: Quart, typed: str, reached: str) -> None:
    with mail.record_messages() as sent:
        await Visitor(adopted).submit("/reset_password_request", email=typed)
        await outbox.drain()
    assert [message.recipients for message in sent] == [[reached]]


async def test_case_duplicates_and_other_unusual_accounts_are_listed_with_advice(adopted: Quart) -> None:
    async with reading() as connection:
        lines = await adoption.findings(connection)
    twin_name, twin_address, hashless, slashed, dots = lines
    assert twin_name.startswith("Account 3 ('Susan'): its name differs from that of 'susan' (account 1)")
    assert "/edit_profile" in twin_name
    assert twin_address.startswith("Account 3 ('Susan'): its address differs from that of account 1")
    assert hashless.startswith("Account 4 ('hashless'): it has no usable password")
    assert "/reset_password_request" in hashless
    assert slashed.startswith("Account 10 ('a/b'): its name would not be accepted today")
    assert dots.startswith("Account 11 ('..')")


async def test_a_name_or_address_that_differs_only_by_case_cannot_be_registered(adopted: Quart) -> None:
    page = await Visitor(adopted).submit(
        "/register", username="SUSAN", email="sUsAn@example.com",
        password="correct horse", password2="correct horse",
    )  # fmt: skip
    assert page.errors("username") == ["Please use a different username."]
    assert page.errors("email") == ["Please use a different email address."]


async def test_old_posts_are_in_the_search_index(adopted: Quart, old_file: Path) -> None:
    david = Visitor(adopted)
    await david.log_in("david", PASSWORD)
    page = await david.get("/search?q=FIRST+post")
    assert "my first post" in page.text
    posts = rows(old_file, "SELECT id FROM post ORDER BY id")
    assert rows(old_file, "SELECT rowid FROM post_search ORDER BY rowid") == posts


async def test_the_upgraded_schema_is_current(adopted: Quart) -> None:
    await migrations.check(database_of(adopted))


@pytest.mark.parametrize(
    "step", ["create_table", "create_index", "drop_index", "add_column", "batch_alter_table"]
)
async def test_an_interrupted_upgrade_can_be_run_again(
    config: dict[str, Any], old_file: Path, edition: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = create_app(config)
    database = database_of(site)
    before = rows(old_file, POSTS)
    real = getattr(op, step)

    def once(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(op, step, real)
        real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(op, step, once)
    with pytest.raises(KeyboardInterrupt):
        await migrations.upgrade(database)
    assert rows(old_file, POSTS) == before
    await migrations.upgrade(database)
    await migrations.check(database)
    assert rows(old_file, POSTS) == before
    await database.dispose()


async def test_ids_of_accounts_are_not_reused(adopted: Quart, old_file: Path) -> None:
    [(highest,)] = rows(old_file, "SELECT max(id) FROM user")
    visitor = Visitor(adopted)
    await visitor.log_in(ODD_NAMES[-1], PASSWORD)
    await visitor.submit("/delete_account", current=PASSWORD, sure="y")
    assert rows(old_file, f"SELECT * FROM user WHERE id = {highest}") == []
    await Visitor(adopted).register("newcomer")
    assert rows(old_file, "SELECT id FROM user WHERE username = 'newcomer'") > [(highest,)]


class TestLooseEnds:
    """Rows without a name, an author or a target, which only the 2018 edition permits."""

    @pytest.fixture
    def edition(self) -> str:
        return "2018"

    @pytest.fixture
    def old_file(self, tmp_path: Path) -> Path:
        return make_old_file(tmp_path / "app.db", "2018", loose_ends=True)

    async def test_incomplete_rows_are_kept_and_listed(self, adopted: Quart, old_file: Path) -> None:
        assert rows(old_file, "SELECT username FROM user WHERE id = 20") == [("unnamed-20",)]
        assert rows(old_file, "SELECT email FROM user WHERE id = 21") == [("unknown-21@unknown.invalid",)]
        assert rows(old_file, "SELECT body FROM post WHERE id = 4") == [("",)]
        [(when,)] = rows(old_file, "SELECT timestamp FROM post WHERE id = 5")
        assert when == "2018-05-02 09:00:00.000000"
        assert rows(old_file, FOLLOWS) == [(1, 2), (1, 10), (2, 1)]
        visitor = Visitor(adopted)
        await visitor.log_in("susan", PASSWORD)
        page = await visitor.get("/user/left-behind")
        assert "whose?" in page.text
        assert "gone" in page.text
        assert "when?" in (await visitor.get("/explore")).text
        async with reading() as connection:
            text = "\n".join(await adoption.findings(connection))
        assert "Account 21 ('unreachable'): it has no email address" in text
        await migrations.check(database_of(adopted))


async def test_posts_of_deleted_accounts_are_kept_too(config: dict[str, Any], old_file: Path) -> None:
    with closing(sqlite3.connect(old_file)) as connection:
        connection.execute("DELETE FROM user WHERE id = 2")
        connection.commit()
    site = create_app(config)
    await migrations.upgrade(database_of(site))
    await database_of(site).dispose()
    author = "SELECT username FROM user JOIN post ON post.user_id = user.id WHERE post.id = 2"
    assert rows(old_file, author) == [("left-behind",)]
    assert rows(old_file, FOLLOWS) == [(1, 10)]


class TestNotOurs:
    """Files that are left alone, byte for byte."""

    @pytest.fixture
    def edition(self) -> str:
        return "2024"

    async def refused(self, config: dict[str, Any], path: Path) -> str:
        before = path.read_bytes()
        database = database_of(create_app(config))
        with pytest.raises(NotMicroblog) as error:
            await migrations.upgrade(database)
        await database.dispose()
        assert path.read_bytes() == before
        assert [other.name for other in path.parent.glob(f"{path.name}-*")] == []
        sentence = str(error.value)
        assert sentence.startswith("DATABASE_URL: ")
        assert sentence.endswith("nothing was changed.")
        assert "\n" not in sentence
        return sentence

    async def test_a_file_that_is_not_a_database(self, config: dict[str, Any], old_file: Path) -> None:
        old_file.write_text("Dear diary, " * 1000)
        assert "not a database" in await self.refused(config, old_file)

    async def test_another_programs_database(self, config: dict[str, Any], old_file: Path) -> None:
        old_file.unlink()
        with closing(sqlite3.connect(old_file)) as connection:
            connection.execute("CREATE TABLE recipe (id INTEGER PRIMARY KEY, text TEXT)")
        assert "recipe" in await self.refused(config, old_file)

    @pytest.mark.parametrize("revision", ["23e9d8ca48c2", "nonsense", ""])
    async def test_an_unknown_revision(self, config: dict[str, Any], old_file: Path, revision: str) -> None:
        with closing(sqlite3.connect(old_file)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
            connection.commit()
        assert f"revision {revision}" in await self.refused(config, old_file)

    @pytest.mark.parametrize("newest", ["834b1a697901", "ae346256b650"])
    async def test_two_revisions_one_of_which_includes_the_other(
        self, config: dict[str, Any], old_file: Path, newest: str
    ) -> None:
        with closing(sqlite3.connect(old_file)) as connection:
            connection.execute("INSERT INTO alembic_version VALUES ('37f06a334dbf')")
            connection.execute("UPDATE alembic_version SET version_num = ? WHERE rowid = 1", (newest,))
            connection.commit()
        assert "one of which includes the other" in await self.refused(config, old_file)

    async def test_a_later_microblog_without_its_tables(self, config: dict[str, Any], old_file: Path) -> None:
        with closing(sqlite3.connect(old_file)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '834b1a697901'")
            connection.commit()
        assert "no table message, notification, task" in await self.refused(config, old_file)

    async def test_a_microblog_without_its_columns(self, config: dict[str, Any], old_file: Path) -> None:
        with closing(sqlite3.connect(old_file)) as connection:
            connection.execute("ALTER TABLE post RENAME COLUMN body TO words")
            connection.commit()
        assert "its table post has no column body" in await self.refused(config, old_file)

    async def test_a_microblog_without_its_tables(self, config: dict[str, Any], old_file: Path) -> None:
        with closing(sqlite3.connect(old_file)) as connection:
            connection.execute("DROP TABLE followers")
            connection.commit()
        assert "followers" in await self.refused(config, old_file)


async def test_an_older_chapters_file_is_upgraded_too(config: dict[str, Any], old_file: Path) -> None:
    with closing(sqlite3.connect(old_file)) as connection:
        connection.executescript(
            "DROP TABLE followers; UPDATE alembic_version SET version_num = '37f06a334dbf';"
        )
    database = database_of(create_app(config))
    await migrations.upgrade(database)
    await migrations.check(database)
    await database.dispose()
    assert len(rows(old_file, POSTS)) == 3


async def test_deleting_an_account_of_an_old_file_deletes_all_its_rows(
    adopted: Quart, old_file: Path
) -> None:
    [(user_id,)] = rows(old_file, "SELECT id FROM user WHERE username = 'susan'")
    own = (
        f"SELECT 1 FROM post WHERE user_id = {user_id}",
        f"SELECT 1 FROM followers WHERE {user_id} IN (follower_id, followed_id)",
    )
    assert all(rows(old_file, statement) for statement in own)
    others = len(rows(old_file, "SELECT 1 FROM user"))
    visitor = Visitor(adopted)
    await visitor.log_in("susan", PASSWORD)
    page = await visitor.submit("/delete_account", current=PASSWORD, sure="y")
    assert page.location == "/login"
    assert not any(rows(old_file, statement) for statement in own)
    assert len(rows(old_file, "SELECT 1 FROM user")) == others - 1
    assert rows(old_file, "PRAGMA foreign_key_check") == []
    lost = "SELECT rowid FROM post_search WHERE rowid NOT IN (SELECT id FROM post)"
    assert rows(old_file, lost) == []
    other = Visitor(adopted)
    assert (await other.log_in("david", PASSWORD)).location == "/index"
    assert (await other.get("/explore")).status == 200
