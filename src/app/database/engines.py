"""The two engines of an app, and the blocks in which its database is read and written."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from quart import has_request_context
from sqlalchemy import URL, make_url
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from app.database import postgresql, sqlite
from app.database.errors import WAIT_SECONDS, DatabaseUnavailable, deadline, translate_errors
from app.database.leases import RawReadPool
from app.database.transactions import SqlalchemyTransaction, Transaction, begin

_log = logging.getLogger(__name__)

LONGEST_COMMIT_SECONDS = WAIT_SECONDS + 0.5
"""When a transaction's commit is given up, counted from its beginning."""

AT_ONCE_SECONDS = WAIT_SECONDS / 4
"""A read that failed in less is worth a second try."""

T = TypeVar("T")


class Database:
    """The two engines of one app: `reader` in autocommit, `writer` in transactions.

    On SQLite the writer holds one connection: writers of this process queue for it in order instead of
    racing for the file's lock.
    """

    def __init__(self, url: URL | str, *, pool_size: int = 5) -> None:
        self.url = make_url(url)
        options: dict[str, Any] = {
            "pool_timeout": WAIT_SECONDS,
            "pool_size": pool_size,
            "hide_parameters": True,  # errors are logged, and what people typed is not
        }
        if self.is_sqlite:
            options["connect_args"] = {"timeout": WAIT_SECONDS, "isolation_level": None}
        else:
            options["connect_args"] = {"timeout": WAIT_SECONDS, "command_timeout": WAIT_SECONDS}
        self.reader = create_async_engine(
            self.url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options
        )
        if self.is_sqlite:
            options.update(pool_size=1, max_overflow=0)
        self.writer = create_async_engine(self.url, **options)
        if self.is_sqlite:
            sqlite.tune(self.reader, self.writer)
        else:
            postgresql.tune(self.reader, self.writer)
        self.raw_reads = RawReadPool(self.reader, count=pool_size, wait=WAIT_SECONDS)
        self._open: ContextVar[tuple[asyncio.Task[Any] | None, AsyncSession] | None] = ContextVar(
            "open_writing", default=None
        )

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is an SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for SELECTs; raise DatabaseUnavailable when there is none in time."""
        with translate_errors():
            async with self._in_time(), self.reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Give a session in a transaction, that of the enclosing `writing()` of this task if there is one.

        A client that leaves cancels the task: before the commit that undoes everything, from the commit on
        nothing. Raises DatabaseUnavailable when the database cannot be written in time.
        """
        outer = self._open.get()
        if outer is not None and outer[0] is asyncio.current_task():
            yield outer[1]
            return
        begun = asyncio.get_running_loop().time()
        sqlite.writing_since.set(time.monotonic())
        with translate_errors():
            async with AsyncSession(self.writer, expire_on_commit=False) as session:
                self._open.set((asyncio.current_task(), session))
                try:
                    async with self._in_time():
                        yield session
                finally:
                    self._open.set(outer)
                commit_by = begun + LONGEST_COMMIT_SECONDS if self._is_waited_for() else None
                await shielded(self._commit(session, commit_by))

    async def change(self, block: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `block` in a transaction of its own, and return what it returns; never inside `writing()`.

        By single exchanges with the driver (see `app.database.transactions`), and so let finish when the task
        is cancelled. If that fails `block` runs anew over SQLAlchemy, which waits for locks, connects anew
        and knows every driver's errors: all that a block does it does to the database. Raises
        DatabaseUnavailable, or DBAPIError for what the database refuses.
        """
        with translate_errors():
            try:
                return await shielded(self._change_over_driver(block))
            except (DatabaseUnavailable, PoolTimeoutError):
                raise
            except TimeoutError as error:
                raise DatabaseUnavailable("the database did not answer in time") from error
            except Exception as error:  # of any driver: what it means is found out below
                _log.debug("Once more over SQLAlchemy: %s", type(error).__name__)
        async with self.writing() as session:
            return await block(SqlalchemyTransaction(await session.connection()))

    async def _change_over_driver(self, block: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self.writer.connect() as connection:
            try:
                async with begin(connection) as transaction:
                    return await block(transaction)
            except BaseException:
                await connection.invalidate()
                raise

    async def _commit(self, session: AsyncSession, commit_by: float | None) -> None:
        async with deadline(commit_by):
            await session.commit()

    def _in_time(self) -> AbstractAsyncContextManager[None]:
        """Give up a page's block that does not get a server's answers in time."""
        now = asyncio.get_running_loop().time()
        return deadline(now + WAIT_SECONDS if self._is_waited_for() else None)

    def _is_waited_for(self) -> bool:
        """Return whether a page waits for a server; SQLite's thread is let finish what it has begun.

        A courier's or a command's block may take longer; each statement of it has its own time limit.
        """
        return not self.is_sqlite and has_request_context()

    async def read(self, sql: str, arguments: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of one SELECT by one exchange with the driver (see `app.database.fetching`).

        When that fails at once, as on a connection whose server has restarted, it is asked once more over
        SQLAlchemy, which connects anew and knows every driver's errors; a slow failure is an answer.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with translate_errors():
            try:
                async with self._in_time():
                    return await self.raw_reads.read(sql, arguments)
            except PoolTimeoutError:
                raise
            except Exception as error:  # of any driver: what it means is found out below
                if loop.time() - begun > AT_ONCE_SECONDS:
                    raise DatabaseUnavailable(str(error)) from error
        async with self.reading() as connection:
            return (await connection.exec_driver_sql(sql, tuple(arguments))).all()

    async def dispose(self) -> None:
        """Close every connection."""
        await self.raw_reads.close()
        await self.reader.dispose()
        await self.writer.dispose()


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, letting it finish first when this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # seen: the cancellation is what the caller hears of
        raise cancelled
    return task.result()
