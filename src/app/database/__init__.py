"""Read and write the database of the current app.

`async with writing() as session` gives an AsyncSession in one short transaction. It is committed at the end
of the block and rolled back on an exception; a `writing()` inside another one of the same task joins it.
`async with reading() as connection` gives an AsyncConnection in autocommit mode for SELECTs. `await
fetch(QUERY, ...)` runs a SELECT of a page faster (see `app.database.reads`). All of them raise
DatabaseUnavailable instead of waiting for long.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any

from quart import Quart, current_app
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database.columns import Base as Base
from app.database.columns import JsonObject as JsonObject
from app.database.columns import StoredTime as StoredTime
from app.database.columns import Unreadable as Unreadable
from app.database.columns import UtcDateTime as UtcDateTime
from app.database.columns import is_storable as is_storable
from app.database.engine import Database as Database
from app.database.engine import insert_into as insert_into
from app.database.engine import shielded as shielded
from app.database.errors import NOT_MIGRATED as NOT_MIGRATED
from app.database.errors import UPGRADE_COMMAND as UPGRADE_COMMAND
from app.database.errors import DatabaseUnavailable as DatabaseUnavailable
from app.database.errors import is_schema_outdated as is_schema_outdated
from app.database.reads import Query as Query
from app.database.reads import Statement as Statement


def init_app(app: Quart) -> None:
    """Connect `app` to its database; close the connections when serving ends."""
    database = Database(app.config["DATABASE_URL"])
    app.extensions["database"] = database

    @app.after_serving
    async def dispose() -> None:
        await database.dispose()


def _database() -> Database:
    database: Database = current_app.extensions["database"]
    return database


def reading() -> AbstractAsyncContextManager[AsyncConnection]:
    """Open a connection for SELECTs (see `Database.reading`)."""
    return _database().reading()


def writing() -> AbstractAsyncContextManager[AsyncSession]:
    """Open a session in a transaction (see `Database.writing`)."""
    return _database().writing()


async def erase_deleted() -> None:
    """Erase deleted data from SQLite's file, even if the client disconnects meanwhile."""
    await shielded(_database().erase_deleted())


async def fetch(query: Query, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of `query` (see `Database.fetch`)."""
    return await _database().fetch(query, parameters)
