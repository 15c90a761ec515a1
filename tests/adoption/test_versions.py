"""Databases of every version of Microblog come over with all their rows, and go back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.util import CommandError
from quart import Quart, current_app
from sqlalchemy import Connection, Engine, NullPool, Row, Table, event, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from app import outbox
from app.database import reading
from app.migrations import HEAD_REVISION, adoption
from app.migrations import run as migrations
from app.migrations.lineage import VERSIONS
from app.migrations.run import NotCurrent
from tests.adoption.old_files import (
    EDITIONS,
    PASSWORD,
    REVISIONS,
    UNREAD,
    V10,
    V14,
    V21,
    V21_MESSAGES,
    V22,
    V23,
    change,
    fill,
    make_old_file,
    schema,
)
from tests.clients import Visitor
from tests.database_servers import PostgresServer
from tests.inspection import database_of, sent_by
from tests.processes import microblog

PEOPLE = 'SELECT id, username, email, password_hash, about_me, last_seen FROM "user" ORDER BY id'
POSTS = "SELECT id, body, timestamp, user_id FROM post ORDER BY id"
FOLLOWS = "SELECT follower_id, followed_id FROM followers ORDER BY 1, 2"
MESSAGES = "SELECT recipient_id, id, sender_id, body, timestamp FROM message ORDER BY 1, timestamp DESC, id"
READ = 'SELECT id, last_message_read_time FROM "user" ORDER BY id'
UNREAD_COUNTS = """SELECT u.id, count(m.id) FROM "user" u JOIN message m ON m.recipient_id = u.id
    AND m.timestamp > coalesce(u.last_message_read_time, '1900-01-01 00:00:00') GROUP BY u.id ORDER BY u.id"""
STATE = {V10: (PEOPLE, POSTS, FOLLOWS), V21_MESSAGES: (MESSAGES, READ, UNREAD_COUNTS)}
"""What a site shows, by the revision that brings it."""

NOTIFICATIONS = "SELECT id, name, user_id, timestamp, payload_json FROM notification ORDER BY id"
TASKS = "SELECT id, name, user_id, complete, progress FROM task ORDER BY id"
LANGUAGES = "SELECT language FROM post ORDER BY id"

Rows = list[Row[*tuple[Any, ...]]]


@pytest.fixture(params=EDITIONS)
def edition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def revision() -> str:
    return V23


@pytest.fixture
def loose_ends() -> bool:
    return False


@pytest.fixture
async def database_url(
    request: pytest.FixtureRequest,
    database_kind: str,
    tmp_path: Path,
    edition: str,
    revision: str,
    loose_ends: bool,
) -> AsyncIterator[str]:
    """The address of a database as Microblog has left it; `app` is this site on it."""
    if database_kind == "sqlite":
        yield f"sqlite:///{make_old_file(tmp_path / 'app.db', edition, revision, loose_ends=loose_ends)}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = await server.empty_database()
    async with create_async_engine(url, poolclass=NullPool).begin() as connection:
        await connection.run_sync(fill, edition, revision, loose_ends=loose_ends)
    yield url
    await server.drop_database(url)


async def select(query: str) -> Rows:
    await current_app.extensions["database"].dispose()  # asyncpg knows statements of the earlier schema
    async with reading() as connection:
        return list((await connection.execute(text(query))).all())


async def state(revision: str) -> list[Rows]:
    """Return what a site at `revision` or later shows."""
    has = REVISIONS[: REVISIONS.index(revision) + 1]
    return [await select(query) for since, queries in STATE.items() if since in has for query in queries]


def of_database(connection: Connection) -> dict[str, Any]:
    """Return the columns and indexes of each table, without their types."""
    inspector = inspect(connection)
    return {
        table: (
            {
                (c["name"], c["nullable"], getattr(c["type"], "length", None))
                for c in inspector.get_columns(table)
            },
            inspector.get_pk_constraint(table)["constrained_columns"],
            {(i["name"], bool(i["unique"]), *i["column_names"]) for i in inspector.get_indexes(table)},
            inspector.get_unique_constraints(table),
            len(inspector.get_foreign_keys(table)),
        )
        for table in inspector.get_table_names()
    }


def of_tables(tables: list[Table]) -> dict[str, Any]:
    """Return the same of tables that have not been created."""
    return {
        table.name: (
            {(c.name, bool(c.nullable), getattr(c.type, "length", None)) for c in table.columns},
            [column.name for column in table.primary_key],
            {(i.name, i.unique, *(column.name for column in i.columns)) for i in table.indexes},
            [],
            len(table.foreign_keys),
        )
        for table in tables
    }


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_version_comes_over_and_goes_back(app: Quart, edition: str, revision: str) -> None:
    database = database_of(app)
    before = await state(revision)
    assert await migrations.upgrade(database) == ((revision,), (HEAD_REVISION,))
    assert await state(revision) == before
    if revision != V10:
        assert [row.language for row in await select(LANGUAGES)] == ["en", None, "zh"]
    name = {id_: name for name, id_ in VERSIONS.items()}.get(revision, revision)
    assert await migrations.downgrade(database, name) == ((HEAD_REVISION,), (revision,))
    assert await state(revision) == before
    async with reading() as connection:
        tables = schema("2024", revision).sorted_tables
        assert await connection.run_sync(of_database) == of_tables(tables)


class TestLooseEnds:
    """Rows of v0.23 that lack what the old tables did not require, or that refer to deleted accounts."""

    @pytest.fixture
    def loose_ends(self) -> bool:
        return True

    async def test_they_are_repaired(self, app: Quart, edition: str, database_kind: str) -> None:
        is_2018, is_sqlite = edition == "2018", database_kind == "sqlite"
        await migrations.upgrade(database_of(app))
        await migrations.check(database_of(app))
        found = await select("""SELECT id FROM "user" WHERE username = 'left-behind'""")
        left = found[0].id if found else None
        messages = {
            row.id: (row.sender_id, row.recipient_id, row.body or "") for row in await select(MESSAGES)
        }
        expected: dict[int, tuple[int | None, int | None, str]] = {
            1: (2, 1, "hello susan"),
            2: (1, 2, "hello david"),
            3: (2, 1, "are you there?"),
            4: (2, 1, "\N{PARTY POPPER}"),
        }
        if is_2018:
            expected |= {
                10: (left, 1, "from whom?"),
                11: (1, left, "to whom?"),
                12: (2, 1, ""),
                13: (2, 1, "when?"),
                14: (left, left, ""),
            }
        if is_sqlite:
            expected |= {15: (left, 1, "from somebody who left"), 16: (1, left, "to somebody who left")}
        assert messages == expected
        if is_2018:
            times = await select("SELECT timestamp FROM message WHERE id IN (12, 13, 14)")
            assert {str(row.timestamp)[:19] for row in times} == {"2018-05-02 11:00:00"}
        newest = [
            (2, UNREAD, 1, 1525176060.25, "2"),
            (3, "task_progress", 1, 1525176000.0, '{"task_id": "a", "progress": 40}'),
        ]
        lacking = [(10, "", 2, 1.5, "1"), (13, UNREAD, 2, 1.5, "null")]
        assert [(row.id, row.name or "", *row[2:]) for row in await select(NOTIFICATIONS)] == newest + (
            lacking if is_2018 else []
        )
        tasks = {
            row.id: (row.name or "", row.user_id, bool(row.complete), row.progress)
            for row in await select(TASKS)
        }
        done, stopped = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
        expected_tasks = {done: ("export_posts", 1, True, 100), stopped: ("export_posts", 2, True, 0)}
        if is_2018:
            expected_tasks |= {"no name": ("", 1, True, 100), "neither": ("export_posts", 1, True, 0)}
        assert tasks == expected_tasks
        async with reading() as connection:
            lines = await adoption.findings(connection)
        assert [line for line in lines if "left-behind" in line] == (
            [
                f"Account {left} ('left-behind'): it stands for people who are no longer known "
                f"(posts: {2 if is_sqlite and is_2018 else 1}, "
                f"messages: {3 * is_2018 + 2 * is_sqlite}); nobody can log in to it."
            ]
            if left
            else []
        )
        assert lines[-1].startswith(f"Tasks: {2 if is_2018 else 1} had not been finished")

    @pytest.mark.parametrize("database_kind", ["sqlite"])
    @pytest.mark.parametrize("edition", ["2018"])
    async def test_blobs_become_text(self, app: Quart) -> None:
        """Other programs may have stored BLOBs in text columns, a key among them."""
        async with database_of(app).writer.begin() as connection:
            for change in (
                "UPDATE message SET body = x'68ff69'",
                "UPDATE notification SET payload_json = CAST(payload_json AS BLOB)",
                "UPDATE task SET id = CAST(id AS BLOB)",
            ):
                await connection.execute(text(change))
        await migrations.upgrade(database_of(app))
        assert {row.body for row in await select(MESSAGES)} == {"h\ufffdi"}
        assert all(isinstance(row.payload_json, str) for row in await select(NOTIFICATIONS))
        assert all(isinstance(row.id, str) for row in await select(TASKS))


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """Interrupt a migration when it changes a row of its revisions for the `number`th time."""
    changes = 0

    def interrupt(connection: Connection, cursor: object, statement: str, *more: object) -> None:
        nonlocal changes
        changes += "alembic_version" in statement and not statement.startswith(("SELECT", "CREATE", "PRAGMA"))
        if changes == number:
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("edition", ["2018"])
@pytest.mark.parametrize("loose_ends", [True])
async def test_a_migration_that_is_killed_again_and_again_ends_well(app: Quart) -> None:
    database = database_of(app)
    posts = len(await select(POSTS))
    stops = []
    while (stopped := await migrations.current(database)) != (HEAD_REVISION,):
        stops.append(stopped)
        with killed_at(3):  # two steps further each time; the step that joins the branches changes two rows
            await migrations.upgrade(database)
    assert [len(stop) for stop in stops] == [1, *[2] * 6, 1]
    await migrations.check(database)
    assert len(await select(POSTS)) == posts
    with killed_at(9):
        await migrations.downgrade(database, "v0.14", drop_newer=True)
    assert len(await migrations.current(database)) == 2
    await migrations.downgrade(database, "v0.14", drop_newer=True)
    assert await migrations.current(database) == (V14,)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("edition", ["2024"])
class TestUpgradedSite:
    async def test_a_database_at_two_revisions_is_not_ready(self, app: Quart) -> None:
        database = database_of(app)
        await migrations.upgrade(database, "6f2b8d15c3e0")
        assert await migrations.current(database) == ("6f2b8d15c3e0", V23)
        page = await Visitor(app).get("/readyz")
        assert page.status == 503
        assert "run `microblog db upgrade`" in page.text
        with pytest.raises(NotCurrent, match=f"at revisions 6f2b8d15c3e0 and {V23}, and this version needs"):
            await migrations.check(database)

    async def test_a_downgrade_that_would_delete_rows_is_refused(self, app: Quart) -> None:
        database = database_of(app)
        await migrations.upgrade(database)
        for target, lost in {
            "v0.21": "2 tasks",
            V21_MESSAGES: "2 notifications and 2 tasks",
            "v0.14": "4 messages, 2 notifications and 2 tasks",
            "v0.10": "4 messages, 2 notifications and 2 tasks",
            "6f2b8d15c3e0": "4 messages, 2 notifications and 2 tasks",
            "base": "8 accounts, 3 posts, 3 follows, 4 messages, 2 notifications and 2 tasks",
        }.items():
            with pytest.raises(CommandError, match=f"^This would delete {lost}, because earlier revisions"):
                await migrations.downgrade(database, target)
        assert await migrations.current(database) == (HEAD_REVISION,)
        for target, after in {"6f2b8d15c3e0": ("6f2b8d15c3e0",), "base": ()}.items():
            assert (await migrations.downgrade(database, target, drop_newer=True))[1] == after

    async def test_a_downgrade_to_a_later_or_unknown_version_is_refused(self, app: Quart) -> None:
        database = database_of(app)
        await migrations.upgrade(database)
        await migrations.downgrade(database, "v0.22")
        with pytest.raises(CommandError, match=rf"is at revision {V22}, which is older than v0\.23"):
            await migrations.downgrade(database, "v0.23")
        with pytest.raises(
            CommandError, match=r"There is no revision 'v0\.15'; give the id of one, or one of v0"
        ):
            await migrations.downgrade(database, "v0.15")


@pytest.mark.parametrize("edition", ["2018"])
class TestMembers:
    """People of an adopted v0.23 site."""

    @pytest.fixture
    async def david(self, app: Quart) -> Visitor:
        await migrations.upgrade(database_of(app))
        visitor = Visitor(app)
        await visitor.log_in("david", PASSWORD)
        return visitor

    async def test_they_find_everything_that_is_theirs(self, app: Quart, david: Visitor) -> None:
        assert "my first post" in (await david.get("/index")).text
        assert "my first post" in (await david.get("/search?q=FIRST+post")).text
        await david.submit("/download_data")
        [mail] = await sent_by(app)
        data = json.loads(mail.attachments[0].data)
        sent = [message["body"] for message in data["messages_sent"]["listed"]]
        assert sent == ["\N{PARTY POPPER}", "are you there?", "hello susan"]
        [received] = data["messages_received"]["listed"]
        assert (received["from"], received["body"]) == ("susan", "hello david")
        assert received["timestamp"].startswith("2018-05-01T11:30:00")
        assert data["notifications"]["total"] == 0
        assert [task["description"] for task in data["tasks"]["listed"]] == ["Exporting posts..."]
        assert "t" * 32 not in str(data)

    async def test_nothing_stays_of_those_who_leave(self, app: Quart, david: Visitor) -> None:
        page = await david.submit("/delete_account", current=PASSWORD, sure="y")
        assert page.location == "/login"
        assert await select(MESSAGES) == []
        assert [row.user_id for row in await select(TASKS)] == [1]
        counts = [row.payload_json for row in await select(NOTIFICATIONS) if row.name == UNREAD]
        assert counts == ["0"]
        await outbox.drain()
        await migrations.downgrade(database_of(app), "v0.23")
        assert await select(UNREAD_COUNTS) == []


def test_the_command_says_what_it_found_and_did(tmp_path: Path) -> None:
    command = partial(microblog, DEBUG="1", DATABASE_URL="sqlite:///app.db")
    path = make_old_file(tmp_path / "app.db", "2018", V23, loose_ends=True)
    change(path, "INSERT INTO post (body, user_id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
        " SELECT i + 1 FROM n WHERE i < 1001) SELECT 'number ' || i, 1 FROM n")  # fmt: skip
    halfway = command("db", "upgrade", "6f2b8d15c3e0").stdout.splitlines()
    assert halfway == [
        "Filling the search index",
        f"Upgraded the database schema from revision {V23} to 6f2b8d15c3e0 and {V23}.",
    ]
    assert command("db", "current").stdout == (
        f"The database schema is at revisions 6f2b8d15c3e0 and {V23}, halfway through an upgrade or a "
        "downgrade; run `microblog db upgrade`.\n"
    )
    first, *findings = command("db", "upgrade").stdout.splitlines()
    assert first == (
        f"Upgraded the database schema from revisions 6f2b8d15c3e0 and {V23} to {HEAD_REVISION}."
    )
    assert any("left-behind" in line for line in findings)
    assert findings[-1] == (
        "Tasks: 2 had not been finished and will not be continued. "
        "People can download their posts at /download_data."
    )
    assert command("db", "check").stdout.splitlines()[1:] == findings
    refused = command("db", "downgrade", "v0.21")
    assert (refused.returncode, refused.stdout, refused.stderr) == (
        1,
        "",
        "This would delete 4 tasks, because earlier revisions have no table for them; nothing was changed. "
        "To delete them, add --drop-newer.\n",
    )
    done = command("db", "downgrade", "v0.21", "--drop-newer").stdout
    assert done == f"Downgraded the database schema from revision {HEAD_REVISION} to revision {V21}.\n"
