"""How connections to SQLite files are opened and configured, and how writers wait for the file's lock."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiosqlite
from sqlalchemy import Connection, Dialect, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolResetState

from app.database.errors import UPGRADE_COMMAND, WAIT_SECONDS, DatabaseUnavailable

TURN_SECONDS = 0.25  # how long SQLite's thread waits at a time for another process's lock
PRIMARY_CODE = 0xFF  # mask of the primary within an extended result code (https://sqlite.org/rescode.html)

writing_since: ContextVar[float] = ContextVar("writing_since")
"""When the current writer's block began, by `time.monotonic`; includes its wait for the connection."""


def _text(value: bytes) -> str:
    """Return stored text; bytes that are not UTF-8 become replacement characters."""
    return value.decode(errors="replace")


# Files of other programs hold BLOBs and invalid UTF-8 in text columns; both are read as text. The registry is
# sqlite3's global one, but only connections with `detect_types` use it.
sqlite3.register_converter("VARCHAR", _text)
sqlite3.register_converter("TEXT", _text)


class Cursor:
    """Runs a statement and fetches its rows in one wait for the connection's thread.

    aiosqlite's own cursor waits for the thread four times: to be opened, to execute, to fetch and to close.
    SQLAlchemy uses no other methods (`AsyncIODBAPICursor`).
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Run a statement, and fetch its rows."""
        await self._connection._execute(self._run, "execute", sql, parameters)  # type: ignore[no-untyped-call]

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each of `parameters`."""
        await self._connection._execute(self._run, "executemany", sql, parameters)  # type: ignore[no-untyped-call]

    def _run(self, method: str, sql: str, parameters: Sequence[Any]) -> None:
        with closing(self._connection._conn.cursor()) as cursor:
            getattr(cursor, method)(sql, parameters)
            self.description = cursor.description
            self._rows = cursor.fetchall() if cursor.description else []
            self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid

    async def fetchall(self) -> list[Any]:
        """Return the rows."""
        return self._rows

    async def close(self) -> None:
        """Do nothing: the cursor was closed when the rows were fetched."""


async def _open(*arguments: Any, **options: Any) -> aiosqlite.Connection:
    """Open a file; if the task is cancelled meanwhile, close it again.

    aiosqlite alone would drop the sqlite3 connection without closing it: a ResourceWarning from Python 3.13
    on.
    """
    connection = aiosqlite.connect(*arguments, **options)
    connection.cursor = partial(Cursor, connection)  # type: ignore[method-assign, assignment]
    connection._thread.daemon = True  # SQLAlchemy does this too, but only for connections it opens
    opening = asyncio.ensure_future(connection.__aenter__())
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            await connection.close()
        raise


for _name in ("_thread", "_execute", "_conn"):
    if not (hasattr(aiosqlite.Connection, _name) or _name in aiosqlite.Connection.__init__.__code__.co_names):
        raise ImportError(f"aiosqlite has changed: app.database.sqlite needs Connection.{_name}")

CONNECT_ARGS = {
    "timeout": WAIT_SECONDS,
    "isolation_level": None,
    "detect_types": sqlite3.PARSE_DECLTYPES,  # applies the converters above
    "async_creator_fn": _open,
}


def configure(reader: AsyncEngine, writer: AsyncEngine) -> None:
    """Set the pragmas on every new connection, and take the write lock at BEGIN.

    With a deferred BEGIN, 9 of 10 concurrent read-then-write transactions fail at once.
    """
    require_file(reader)
    require_file(writer)
    for engine, wait in ((reader.sync_engine, WAIT_SECONDS), (writer.sync_engine, TURN_SECONDS)):
        event.listen(engine, "connect", lambda connection, _, wait=wait: _set_up(connection, wait))
    event.listen(writer.sync_engine, "begin", _begin_immediate)
    event.listen(writer.sync_engine, "reset", _roll_back)


def require_file(engine: AsyncEngine) -> None:
    """Refuse to connect to a file that does not exist, with DatabaseUnavailable."""
    event.listen(engine.sync_engine, "do_connect", _check_file)


def read_text_leniently(connection: Any, record: object = None) -> None:
    """Decode text that is not UTF-8 with replacement characters, as a listener of "connect"."""
    connection.driver_connection.text_factory = _text


def _check_file(dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> None:
    """Raise DatabaseUnavailable for a missing file; sqlite3 would create an empty one."""
    path = str(arguments[0])
    if path and not path.startswith((":memory:", "file:")) and not Path(path).exists():
        raise DatabaseUnavailable(f"there is no database at {path}; run {UPGRADE_COMMAND} to create it")


def _set_up(connection: Any, wait: float) -> None:
    """Set the pragmas and the text factory; `wait`: the busy timeout afterwards, in seconds."""
    try:
        read_text_leniently(connection)
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {int(WAIT_SECONDS * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",  # overwrite what is deleted; not every build does by default
            f"busy_timeout = {int(wait * 1000)}",
        ):
            # When two connections switch to WAL at once, SQLite does not wait, whatever its busy_timeout.
            _retry_while_busy(partial(cursor.execute, f"PRAGMA {pragma}"), time.monotonic() + WAIT_SECONDS)
        cursor.close()
    except BaseException:  # a cancelled task's, too: the connection is in no pool yet
        connection.close()
        raise


def _begin_immediate(connection: Connection) -> None:
    """Take the file's write lock within WAIT_SECONDS, however many other processes want it."""
    adapted: Any = connection.connection.dbapi_connection
    until = writing_since.get(time.monotonic()) + WAIT_SECONDS - TURN_SECONDS
    try:
        _retry_while_busy(partial(adapted.execute, "BEGIN IMMEDIATE"), until)
    except sqlite3.Error as error:
        raise OperationalError("BEGIN IMMEDIATE", None, error) from error
    except BaseException:  # cancelled: SQLite's thread may still begin the transaction
        connection.invalidate()
        raise


def _roll_back(connection: Any, record: object, state: PoolResetState) -> None:
    """Roll back a transaction that is still open when its connection returns to the pool.

    The pool's own ROLLBACK would be sent after every commit, too.
    """
    if state.asyncio_safe and connection.driver_connection.in_transaction:
        connection.rollback()


def _retry_while_busy(step: Callable[[], object], until: float) -> None:
    """Repeat `step` while the file is busy, but start no attempt after `until` by `time.monotonic`."""
    while True:
        try:
            step()
        except (sqlite3.OperationalError, OperationalError) as error:
            code = getattr(getattr(error, "orig", error), "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        else:
            return
