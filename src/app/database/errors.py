"""How long is waited for a database, and what it means when it gives no answer, or not the one wanted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

WAIT_SECONDS = 2.0
"""How long a statement waits for a connection or a lock, so that a page can say 503 within 3 s."""

UPGRADE_COMMAND = "`microblog db upgrade`"
"""The command that creates the tables and brings them up to date."""

NOT_MIGRATED = f"the database schema is out of date; run {UPGRADE_COMMAND}"

NO_TABLE = ("42P01", "42703")
"""PostgreSQL's undefined_table and undefined_column (its manual, appendix A)."""


class DatabaseUnavailable(Exception):
    """The database does not answer, or not in time; trying again later can help."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn SQLAlchemy's words for "no answer" into DatabaseUnavailable.

    What else is raised in a block is its caller's own affair, such as BrokenPipeError from printing.
    """
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(str(error)) from error
    except DBAPIError as error:
        if not (error.connection_invalidated or _is_no_answer(error)):
            raise
        raise DatabaseUnavailable(str(error.orig)) from error


def is_schema_outdated(error: DBAPIError) -> bool:
    """Return whether `error` is about a table or column that is not there (yet)."""
    missing = str(error.orig).startswith(("no such table", "no such column"))
    return missing or getattr(error.orig, "sqlstate", None) in NO_TABLE


@asynccontextmanager
async def deadline(at: float | None) -> AsyncIterator[None]:
    """Raise DatabaseUnavailable in a block that has not ended when the loop's clock reaches `at`."""
    limit = asyncio.timeout_at(at)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DatabaseUnavailable("the database did not answer in time") from error


def _is_no_answer(error: DBAPIError) -> bool:
    """Return whether `error` is about reaching the database; SQLite says so of wrong SQL as well."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(error, OperationalError | InterfaceError) and code != sqlite3.SQLITE_ERROR
