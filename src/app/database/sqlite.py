"""What SQLite's driver is told: its pragmas, whose turn it is to write, and that a file must be there."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import exchange
from app.database.errors import UPGRADE_COMMAND, WAIT_SECONDS, DatabaseUnavailable

TURN_SECONDS = 0.25
"""How long SQLite's thread waits at a time for the lock of another process."""

PRIMARY_CODE = 0xFF
"""The bits of an SQLite error code that say the error; the others say more about it."""

writing_since: ContextVar[float] = ContextVar("writing_since")
"""When the block of a writer began, by `time.monotonic`: waiting for its turn here counts as well."""


def tune(reader: AsyncEngine, writer: AsyncEngine) -> None:
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
        raise DatabaseUnavailable(
            f"there is no database at {place}; run {UPGRADE_COMMAND} to create it"
        )


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
            # SQLite waits for no lock to begin WAL, whatever its busy_timeout, when two begin at once.
            _while_busy(
                partial(cursor.execute, f"PRAGMA {pragma}"), time.monotonic() + WAIT_SECONDS
            )
    except BaseException:
        connection.close()  # nobody else would: no pool has it yet
        raise
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    """Take the write lock of the file, however many other processes want it, by WAIT_SECONDS."""
    until = writing_since.get(time.monotonic()) + WAIT_SECONDS - TURN_SECONDS
    _while_busy(partial(connection.exec_driver_sql, "BEGIN IMMEDIATE"), until)


def _while_busy(step: Callable[[], object], until: float) -> None:
    """Take `step` again for as long as the file is busy, beginning none after `until` by `time.monotonic`."""
    while True:
        try:
            step()
        except (sqlite3.OperationalError, OperationalError) as error:
            code = getattr(getattr(error, "orig", error), "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
        else:
            return
