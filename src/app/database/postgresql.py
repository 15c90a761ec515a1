"""What PostgreSQL's driver is told: a server that does not answer is left, not asked to say goodbye."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database.errors import DatabaseUnavailable


def tune(reader: AsyncEngine, writer: AsyncEngine) -> None:
    """Drop a connection whose server does not answer, instead of asking that server to close it.

    asyncpg raises TimeoutError, which SQLAlchemy takes for no disconnect: it would roll back and wait again,
    and close politely and wait again. A page took 8 s of a hanging server (measured).
    """
    for engine in (reader.sync_engine, writer.sync_engine):
        engine.dialect.do_terminate = _hang_up  # type: ignore[method-assign, assignment]
        engine.dialect.do_close = _hang_up  # type: ignore[method-assign, assignment]
        event.listen(engine, "do_connect", connect)
        event.listen(engine, "handle_error", _give_up)
        event.listen(engine, "checkout", _look)


def connect(dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
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
