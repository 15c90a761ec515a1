"""How long to wait for the database, and which of its errors mean that it is unavailable."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

WAIT_SECONDS = 2.0
"""How long a statement waits for a connection or a lock, so that a page can answer 503 within 3 s."""

UPGRADE_COMMAND = "`microblog db upgrade`"
NOT_MIGRATED = f"the database schema is out of date; run {UPGRADE_COMMAND}"
UNDEFINED = ("42P01", "42703")  # PostgreSQL's undefined_table and undefined_column (its manual, appendix A)


class DatabaseUnavailable(Exception):
    """The database does not answer in time; a later attempt may succeed."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn SQLAlchemy's connection errors and timeouts into DatabaseUnavailable; let others pass."""
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable(str(error)) from error
    except DBAPIError as error:
        if not (error.connection_invalidated or _is_outage(error)):
            raise
        raise DatabaseUnavailable(str(error.orig)) from error


def _is_outage(error: DBAPIError) -> bool:
    """Return whether `error` is about reaching the database; SQLite has the same one for wrong SQL."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(error, OperationalError | InterfaceError) and code != sqlite3.SQLITE_ERROR


def is_schema_outdated(error: DBAPIError) -> bool:
    """Return whether `error` is about a missing table or column."""
    is_missing = str(error.orig).startswith(("no such table", "no such column"))
    return is_missing or getattr(error.orig, "sqlstate", None) in UNDEFINED
