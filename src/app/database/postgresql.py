"""How connections to PostgreSQL are opened, watched and closed."""

from typing import Any

from sqlalchemy import URL, Dialect, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database.errors import WAIT_SECONDS, DatabaseUnavailable

CACHE_SIZE = "prepared_statement_cache_size"


def connect_args(url: URL) -> dict[str, Any]:
    """Return the driver's options for `url`: time limits, and the size of the statement caches.

    SQLAlchemy applies `prepared_statement_cache_size` in the URL to its own cache only. Raw reads use
    asyncpg's, so they get the same size. Behind a PgBouncer that pools transactions the size must be 0; then
    no statement gets a name on the server either.
    """
    options: dict[str, Any] = {"timeout": WAIT_SECONDS, "command_timeout": WAIT_SECONDS}
    size = url.query.get(CACHE_SIZE)
    if size is not None:
        options["statement_cache_size"] = int(str(size))
        if int(str(size)) == 0:
            options["prepared_statement_name_func"] = str  # str() is "", the unnamed statement
    return options


def configure(reader: AsyncEngine, writer: AsyncEngine) -> None:
    """Drop a connection whose server does not answer, instead of asking that server to close it.

    asyncpg raises TimeoutError, which SQLAlchemy does not regard as a disconnect: it would roll back and wait
    again, then close politely and wait again. With a hanging server a page took 8 s (measured).
    """
    for engine in (reader.sync_engine, writer.sync_engine):
        engine.dialect.do_terminate = _terminate  # type: ignore[method-assign, assignment]
        engine.dialect.do_close = _terminate  # type: ignore[method-assign, assignment]
        event.listen(engine, "do_connect", connect)
        event.listen(engine, "handle_error", _invalidate_on_os_error)
        event.listen(engine, "checkout", _replace_if_closed)


def connect(dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect, or raise DatabaseUnavailable (on "do_connect"); asyncpg raises asyncio's errors, too."""
    try:
        return dialect.connect(*arguments, **options)
    except (OSError, dialect.loaded_dbapi.Error) as error:  # TimeoutError is an OSError
        raise DatabaseUnavailable(str(error) or "the database did not answer in time") from error


def _terminate(connection: Any) -> None:
    """Close asyncpg's socket at once; the server notices and rolls back."""
    connection.driver_connection.terminate()


def _invalidate_on_os_error(context: ExceptionContext) -> None:
    """Drop a connection that broke or timed out, and raise DatabaseUnavailable."""
    error = context.original_exception
    if isinstance(error, OSError):  # TimeoutError is one
        context.is_disconnect = True
        raise DatabaseUnavailable(str(error) or "the database did not answer in time") from error


def _replace_if_closed(connection: Any, record: object, proxy: object) -> None:
    """Replace a connection that the server has closed, for example by a restart, before it is used."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
