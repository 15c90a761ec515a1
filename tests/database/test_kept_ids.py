"""The revision after which ids of accounts are never used again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import Engine, delete, event, select, text
from sqlalchemy.exc import PendingRollbackError

from app.accounts.models import User
from app.database import reading, writing
from app.migrations import run
from tests.factories import make_user
from tests.inspection import database_of

BEFORE_IDS_WERE_KEPT = "b62f80d4ca19"
IDS_ARE_KEPT = "a3f52c8d9e17"
IDS = 'SELECT id FROM "user" ORDER BY id'


async def ids() -> list[int]:
    async with reading() as connection:
        return list((await connection.execute(text(IDS))).scalars())


async def test_ids_of_accounts_survive_the_revision_that_keeps_them(app: Quart) -> None:
    """Down and up again: the accounts stay, confirmed, and the next id is above every one that was counted."""
    for name in ("ann", "ben", "cleo"):
        await make_user(name)
    database = database_of(app)
    await run.downgrade(database, BEFORE_IDS_WERE_KEPT)
    async with writing() as session:
        await session.execute(text("DELETE FROM \"user\" WHERE username = 'cleo'"))
        await session.execute(
            text(
                "INSERT INTO outbox (kind, message_id, priority, state, attempts, in_doubt, created_at, about)"
                " VALUES ('reset_password', 'x', 0, 'sent', 1, false, '2026-11-20 12:00:00', 'user:3')"
            )
        )
    assert await ids() == [1, 2]
    await run.upgrade(database)
    await run.check(database)
    async with reading() as connection:
        assert (await connection.execute(select(User.email_confirmed))).scalars().all() == [True, True]
    assert await make_user("dora") == 4
    async with writing() as session:
        await session.execute(delete(User))
    assert await make_user("ed") == 5


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("statement", ["DROP TABLE user", "RENAME TO", "sqlite_sequence"])
@pytest.mark.parametrize("goes_up", [True, False])
async def test_interrupted_the_revision_changes_nothing(
    app: Quart, tmp_path: Path, statement: str, goes_up: bool
) -> None:
    await make_user("ann")
    database, path = database_of(app), tmp_path / "microblog.db"
    if goes_up:
        await run.downgrade(database, BEFORE_IDS_WERE_KEPT)
        add_count(path)
    else:
        await run.downgrade(database, IDS_ARE_KEPT)
    before = schema(path)

    def interrupt(connection: object, cursor: object, sql: str, *args: object) -> None:
        if statement in sql.replace('"', "") and not sql.startswith("SELECT"):
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        if goes_up or statement != "sqlite_sequence":
            with pytest.raises((KeyboardInterrupt, PendingRollbackError)):
                if goes_up:
                    await run.upgrade(database, IDS_ARE_KEPT)
                else:
                    await run.downgrade(database, BEFORE_IDS_WERE_KEPT)
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
    assert schema(path) == before
    await run.upgrade(database)
    await run.check(database)
    assert await ids() == [1]


def add_count(path: Path) -> None:
    """Count a mail about an account that was deleted."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO outbox (kind, message_id, priority, state, attempts, in_doubt, created_at, about)"
            " VALUES ('reset_password', 'x', 0, 'sent', 1, 0, '2026-11-20 12:00:00', 'user:7')"
        )
        connection.commit()


def schema(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
