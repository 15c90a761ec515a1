"""What the drivers of SQLite and PostgreSQL are told, and what it means when they give no answer.

Nobody waits long for a database in trouble.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import exchange

WAIT_SECONDS = 2.0
"""How long a statement waits for a connection or a lock, so that a page can say 503 within 3 s."""

TURN_SECONDS = 0.25
"""How long SQLite's thread waits at a time for the lock of another process."""

PRIMARY_CODE = 0xFF
"""The bits of an SQLite error code that say the error; the others say more about it."""

writing_since: ContextVar[float] = ContextVar("writing_since")
"""When the block of a writer began, by `time.monotonic`: waiting for its turn here counts as well."""


REMEDY = "`microblog db upgrade`"
"""What makes the tables, and brings them up to date."""

NOT_MIGRATED = f"the database has not the tables of this version; {REMEDY} makes them."

NO_TABLE = ("42P01", "42703")
"""PostgreSQL's undefined_table and undefined_column (its manual, appendix A)."""


class DatabaseUnavailable(Exception):
    """The database does not answer, or not in time; trying again later can help."""


def tune_sqlite(reader: AsyncEngine, writer: AsyncEngine) -> None:
    """Set the pragmas on every new connection, and take the write lock at BEGIN.

    With a deferred BEGIN, 9 of 10 concurrent read-then-write transactions fail at once.
    """
    require_file(reader)
    require_file(writer)
    for engine, wait in ((reader.sync_engine, WAIT_SECONDS), (writer.sync_engine, TURN_SECONDS)):
        event.listen(engine, "do_connect", exchange.connect)
        event.listen(engine, "connect", lambda connection, _, wait=wait: _pragmas(connection, wait))
    event.listen(writer.sync_engine, "begin", _begin_immediate)


def require_file(engine: AsyncEngine) -> None:
    """Have every connection to a file that is not there refused with DatabaseUnavailable."""
    event.listen(engine.sync_engine, "do_connect", _look_for_file)


def _look_for_file(
    dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]
) -> None:
    """Refuse what sqlite3 would make, empty, for somebody who only wants to read."""
    place = str(arguments[0])
    if place and not place.startswith((":memory:", "file:")) and not Path(place).exists():
        raise DatabaseUnavailable(f"there is no database at {place}; {REMEDY} makes it.")


def _pragmas(connection: Any, wait: float) -> None:
    """Set the pragmas; `wait` is for later, since the first connections of several processes meet here."""
    cursor = connection.cursor()
    try:
        for pragma in (
            f"busy_timeout = {int(WAIT_SECONDS * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"busy_timeout = {int(wait * 1000)}",
        ):
            _set(cursor, pragma)
    except BaseException:
        connection.close()  # nobody else would: no pool has it yet
        raise
    cursor.close()


def _set(cursor: Any, pragma: str) -> None:
    """Set one; SQLite waits for no lock to begin WAL, whatever its busy_timeout, when two begin at once."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            cursor.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() >= deadline:
                raise
        else:
            return


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock of the file, however many other processes want it, by WAIT_SECONDS."""
    deadline = writing_since.get(time.monotonic()) + WAIT_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", None)
            if code != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline - TURN_SECONDS:
                raise
        else:
            return


def tune_postgresql(reader: AsyncEngine, writer: AsyncEngine) -> None:
    """Drop a connection whose server does not answer, instead of asking that server to close it.

    asyncpg raises TimeoutError, which SQLAlchemy takes for no disconnect: it would roll back and wait again,
    and close politely and wait again. A page took 8 s of a hanging server (measured).
    """
    for engine in (reader.sync_engine, writer.sync_engine):
        engine.dialect.do_terminate = _hang_up  # type: ignore[method-assign, assignment]
        engine.dialect.do_close = _hang_up  # type: ignore[method-assign, assignment]
        event.listen(engine, "do_connect", connect_postgresql)
        event.listen(engine, "handle_error", _give_up)
        event.listen(engine, "checkout", _look)


def connect_postgresql(
    dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]
) -> Any:
    """Connect, as a listener of "do_connect"; raises DatabaseUnavailable, also when nobody is let in.

    asyncpg says of a server that is not there what asyncio said, not an error of its own.
    """
    refusals = (OSError, dialect.loaded_dbapi.Error)  # TimeoutError is an OSError
    try:
        return dialect.connect(*arguments, **options)
    except refusals as error:
        raise DatabaseUnavailable(str(error) or "the database did not answer in time") from error


def _hang_up(connection: Any) -> None:
    """Close asyncpg's socket at once; the server sees it and rolls back."""
    connection.driver_connection.terminate()


def _give_up(context: ExceptionContext) -> None:
    """Let a connection be dropped that broke or did not answer in time, and say so in our own word."""
    error = context.original_exception
    if isinstance(error, OSError):  # TimeoutError is one
        context.is_disconnect = True
        raise DatabaseUnavailable(str(error) or "the database did not answer in time") from error


def _look(connection: Any, record: object, proxy: object) -> None:
    """Have a connection that the server has closed, as by a restart, replaced before it is used."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


@contextmanager
def unavailable() -> Iterator[None]:
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


def wants_upgrade(error: DBAPIError) -> bool:
    """Return whether `error` is about a table or column that is not there (yet)."""
    missing = str(error.orig).startswith(("no such table", "no such column"))
    return missing or getattr(error.orig, "sqlstate", None) in NO_TABLE


@asynccontextmanager
async def by(deadline: float | None) -> AsyncIterator[None]:
    """Raise DatabaseUnavailable out of a block that is not done by `deadline` of the loop's clock."""
    limit = asyncio.timeout_at(deadline)
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
