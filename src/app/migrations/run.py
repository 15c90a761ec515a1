"""Running the migrations: what `microblog db` and the tests call."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, event
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.database import Database, DatabaseUnavailable
from app.migrations.recognition import NotMicroblog, recognise

FOLDER = Path(__file__).parent


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the schema of `database` up to `revision`; raises NotMicroblog, and leaves others' alone."""
    await _run(database, lambda config: command.upgrade(config, revision))


async def downgrade(database: Database, revision: str) -> None:
    """Take the schema of `database` back to `revision`."""
    await _run(database, lambda config: command.downgrade(config, revision))


async def current(database: Database) -> None:
    """Print the revision that `database` is at."""
    await _run(database, lambda config: command.current(config))


async def check(database: Database) -> None:
    """Raise alembic.util.CommandError when the models and the schema of `database` differ."""
    await _run(database, lambda config: command.check(config))


async def _run(database: Database, action: Callable[[Config], None]) -> None:
    """Run one of Alembic's commands over one connection of its own, without the pages' short timeouts."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        recognise(connection, revisions())
        connection.rollback()
        action(config)

    engine = _engine(database)
    try:
        if database.is_sqlite:
            Path(database.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        async with engine.connect() as connection:
            await connection.run_sync(run)
    except (OperationalError, InterfaceError, OSError) as error:
        reason = getattr(error, "orig", error)
        raise DatabaseUnavailable(_sentence(database, "cannot be used", reason)) from error
    except (DatabaseError, NotMicroblog) as error:
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", sqlite3.SQLITE_NOTADB)
        if code not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise
        reason = getattr(error, "orig", error)
        raise NotMicroblog(_sentence(database, "is no Microblog", reason)) from error
    finally:
        await engine.dispose()


def _sentence(database: Database, verdict: str, reason: object) -> str:
    place = database.url.render_as_string(hide_password=True)
    return f"DATABASE_URL: {place} {verdict} ({reason}); nothing was changed."


def _engine(database: Database) -> AsyncEngine:
    """Return an engine whose transactions hold DDL too, which on SQLite takes an explicit BEGIN."""
    if not database.is_sqlite:
        return create_async_engine(database.url, poolclass=NullPool)
    engine = create_async_engine(
        database.url, poolclass=NullPool, connect_args={"isolation_level": None}
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def revisions() -> frozenset[str]:
    """Return the revisions that this version of the site knows."""
    return frozenset(script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions())


def head() -> str:
    """Return the newest revision, the one this version of the site works with."""
    revision = ScriptDirectory(str(FOLDER)).get_current_head()
    assert revision is not None  # noqa: S101 -- the package ships its revisions
    return revision
