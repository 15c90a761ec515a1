"""The database: what is read, what is written, and in which blocks.

`async with writing() as session` gives an AsyncSession in one short transaction that is committed at the
end of the block, or rolled back by an exception; a `writing()` inside another of the same task joins it.
`await fetch(QUERY, ...)` reads for pages, by one exchange with the driver; `async with reading() as
connection` gives an AsyncConnection in autocommit for any other SELECT. All raise DatabaseUnavailable instead
of waiting long.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from quart import Quart, current_app
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database.columns import Base, StoredTime, UtcDateTime, is_storable
from app.database.engines import Database, shielded
from app.database.errors import (
    NOT_MIGRATED,
    UPGRADE_COMMAND,
    DatabaseUnavailable,
    is_schema_outdated,
)
from app.database.fetching import fetch
from app.database.inserting import insert_into
from app.database.plans import Query
from app.database.transactions import Transaction

__all__ = [
    "NOT_MIGRATED",
    "UPGRADE_COMMAND",
    "Base",
    "Database",
    "DatabaseUnavailable",
    "Query",
    "StoredTime",
    "Transaction",
    "UtcDateTime",
    "fetch",
    "init_app",
    "insert_into",
    "is_schema_outdated",
    "is_storable",
    "reading",
    "shielded",
    "writing",
]


def init_app(app: Quart) -> None:
    """Give `app` its database, closed when serving ends."""
    database = Database(app.config["DATABASE_URL"])
    app.extensions["database"] = database

    @app.after_serving
    async def dispose() -> None:
        await database.dispose()


def reading() -> AbstractAsyncContextManager[AsyncConnection]:
    """Give a connection of the current app's database for SELECTs (see `Database.reading`)."""
    database: Database = current_app.extensions["database"]
    return database.reading()


def writing() -> AbstractAsyncContextManager[AsyncSession]:
    """Give a session of the current app's database in a transaction (see `Database.writing`)."""
    database: Database = current_app.extensions["database"]
    return database.writing()
