"""Migrations: the schema they make, what they need, and what they import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from quart import Quart
from sqlalchemy import select, text

from app.accounts.models import Registration, User
from app.database import Database, DatabaseUnavailable, reading, writing
from app.migrations import HEAD_REVISION, run
from app.migrations import run as migrations
from tests.database_servers import PostgresServer
from tests.inspection import database_of


def susan() -> User:
    return User(username="susan", email="susan@example.com")


def test_head_revision_is_the_newest_revision() -> None:
    assert ScriptDirectory(str(migrations.FOLDER)).get_heads() == [HEAD_REVISION]


async def test_models_and_migrations_agree(app: Quart) -> None:
    await migrations.check(database_of(app))


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_reading_the_revision_does_not_wait_for_a_writer(app: Quart) -> None:
    async with writing() as session:
        session.add(susan())
        await session.flush()
        assert await migrations.current(database_of(app)) == (HEAD_REVISION,)
        await migrations.check(database_of(app))


async def test_down_to_nothing_and_up_again(app: Quart) -> None:
    database = database_of(app)
    await migrations.downgrade(database, "base")
    await migrations.upgrade(database)
    await migrations.check(database)


async def test_a_waiting_registration_gets_its_canonical_address(app: Quart) -> None:
    database = database_of(app)
    await migrations.downgrade(database, "e3b90d5a7c16")
    async with writing() as session:
        columns, values = (
            "username, email, password_hash, expires_at",
            "'', 'Ann@ПРИМЕР.рф', '', '2099-01-01'",
        )
        await session.execute(text(f"INSERT INTO registration ({columns}) VALUES ({values})"))
    await migrations.upgrade(database)
    async with reading() as connection:
        assert await connection.scalar(select(Registration.email_canonical)) == "ann@пример.рф"


@pytest.mark.parametrize(("own", "wrong"), [("postgres@", "nobody@"), ("/microblog?", "/nothing?")])
async def test_a_wrong_role_or_database_is_reported_in_a_sentence(
    postgres_server: PostgresServer, own: str, wrong: str
) -> None:
    wanted = r"^DATABASE_URL: .* cannot be used \(.* does not exist\); nothing was changed\.$"
    database = Database(postgres_server.url("microblog").replace(own, wrong))
    for command in (migrations.upgrade, migrations.check):
        with pytest.raises(DatabaseUnavailable, match=wanted):
            await command(database)


REVISIONS = sorted((run.FOLDER / "versions").glob("*.py"))


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_revision_imports_nothing_of_the_site(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "app").split(".")[0])
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
    assert "app" not in imported
