"""The engines of an app's database, and the blocks in which it is read and written."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite
from quart import has_request_context
from sqlalchemy import URL, Table, make_url, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine

from app.database import postgresql, sqlite
from app.database.errors import WAIT_SECONDS, DatabaseUnavailable, translate_errors
from app.database.reads import Query, RawReadPool

POOL_SIZE = 5  # connections of each engine, and for raw reads
COMMIT_SECONDS = WAIT_SECONDS + 0.5  # how long after its start a page's transaction may still commit
RETRY_SECONDS = WAIT_SECONDS / 4  # a raw read that fails sooner is retried
MERGED_PAGES = 500  # of 4 kB, by one statement
FTS5_TABLES = "SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%USING fts5%'"

T = TypeVar("T")


class Database:
    """The two engines of one app: `reader` in autocommit mode, `writer` in transactions.

    On SQLite the writer has a single connection: the writers of this process queue for it instead of
    competing for the file's lock.
    """

    def __init__(self, url: URL | str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {
            "pool_timeout": WAIT_SECONDS,
            "pool_size": POOL_SIZE,
            "hide_parameters": True,  # errors are logged, and must not contain what people typed
            "connect_args": sqlite.CONNECT_ARGS if self.is_sqlite else postgresql.connect_args(self.url),
        }
        self.reader = create_async_engine(
            self.url, isolation_level="AUTOCOMMIT", skip_autocommit_rollback=True, **options
        )
        if self.is_sqlite:
            options.update(pool_size=1, max_overflow=0, pool_reset_on_return=None)
        self.writer = create_async_engine(self.url, **options)
        if self.is_sqlite:
            sqlite.configure(self.reader, self.writer)
        else:
            postgresql.configure(self.reader, self.writer)
        self.raw_reads = RawReadPool(self.reader, count=POOL_SIZE, wait=WAIT_SECONDS)
        self._open: ContextVar[tuple[asyncio.Task[Any] | None, AsyncSession] | None] = ContextVar(
            "open_writing", default=None
        )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for SELECTs; raise DatabaseUnavailable when there is none in time."""
        with translate_errors():
            until = asyncio.get_running_loop().time() + WAIT_SECONDS
            async with self._page_deadline(until), self.reader.connect() as connection:
                yield connection

    async def fetch(self, query: Query, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Return the rows of `query`, read by the driver (see `app.database.reads`).

        A read that fails at once, as on a connection whose server was restarted, is repeated through
        SQLAlchemy, which reconnects and knows every driver's errors. Raises TypeError for wrong parameter
        names and DatabaseUnavailable when there is no answer in time.
        """
        compiled = query.compile(self.reader.dialect)
        arguments = compiled.arguments(parameters)
        loop = asyncio.get_running_loop()
        started = loop.time()
        with translate_errors():
            try:
                async with self._page_deadline(started + WAIT_SECONDS):
                    results = await self.raw_reads.read(compiled.sql, arguments)
            except PoolTimeoutError:
                raise
            except Exception as error:  # of any driver; SQLAlchemy classifies it below
                if loop.time() - started > RETRY_SECONDS:
                    raise DatabaseUnavailable(str(error)) from error
            else:
                return compiled.rows(results)
        async with self.reading() as connection:
            result = await connection.exec_driver_sql(compiled.sql, tuple(arguments))
            return compiled.rows(result.all())

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncSession]:
        """Open a session in a transaction, or join that of the enclosing `writing()` of this task.

        A client that disconnects cancels the task. Until the commit this rolls everything back; a commit that
        has begun is finished. Raises DatabaseUnavailable when the database cannot be written in time.
        """
        outer = self._open.get()
        if outer is not None and outer[0] is asyncio.current_task():
            yield outer[1]
            return
        started = asyncio.get_running_loop().time()
        sqlite.writing_since.set(time.monotonic())
        with translate_errors():
            async with AsyncSession(self.writer, expire_on_commit=False) as session:
                self._open.set((asyncio.current_task(), session))
                try:
                    async with self._page_deadline(started + WAIT_SECONDS):
                        yield session
                finally:
                    self._open.set(outer)
                await shielded(self._commit(session, started + COMMIT_SECONDS))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection in a transaction of its own, for Core statements outside of requests.

        As `writing()`, but without the cost of a session, which mail couriers would pay for every few mails.
        """
        sqlite.writing_since.set(time.monotonic())
        with translate_errors():
            async with self.writer.connect() as connection:
                await connection.begin()
                yield connection
                await shielded(connection.commit())

    async def _commit(self, session: AsyncSession, until: float) -> None:
        async with self._page_deadline(until):
            await session.commit()

    @asynccontextmanager
    async def _page_deadline(self, until: float) -> AsyncIterator[None]:
        """Raise DatabaseUnavailable in a page that waits for a server longer than `until` (loop time).

        Mail workers and commands may take longer (each statement has its own time limit), and SQLite's thread
        always finishes what it has begun.
        """
        limit = asyncio.timeout_at(None if self.is_sqlite or not has_request_context() else until)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DatabaseUnavailable("the database did not answer in time") from error

    async def truncate_log(self) -> None:
        """Empty SQLite's write-ahead log, which holds earlier versions of pages, unless it is in use.

        Deleted rows are overwritten in the file (PRAGMA secure_delete), but not in the log.
        """
        if not self.is_sqlite:
            return
        with suppress(DatabaseUnavailable):
            async with self.reading() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def erase_deleted(self) -> None:
        """Remove what was deleted from SQLite's file: from FTS5's indexes and from the write-ahead log.

        FTS5 keeps the words of deleted rows until the parts of its index are merged into one. That is done in
        short transactions, between which others can write.
        """
        if not self.is_sqlite:
            return
        async with self.reading() as connection:
            tables = (await connection.exec_driver_sql(FTS5_TABLES)).scalars().all()
        for table in tables:
            # A negative number begins to merge all parts (https://sqlite.org/fts5.html#the_merge_command).
            pages = -MERGED_PAGES
            while await self._merge(table, pages):
                pages = MERGED_PAGES
        await self.truncate_log()

    async def _merge(self, table: str, pages: int) -> bool:
        """Merge some pages of an FTS5 index; return whether there may be more."""
        merge = f'INSERT INTO "{table}" ("{table}", rank) VALUES (\'merge\', {pages})'  # noqa: S608 -- no input
        async with self.transaction() as connection:
            before = await connection.scalar(text("SELECT total_changes()"))
            await connection.exec_driver_sql(merge)
            after = await connection.scalar(text("SELECT total_changes()"))
        return bool(after - before > 1)  # 1 is the command itself

    async def dispose(self) -> None:
        """Close every connection."""
        await self.raw_reads.close()
        await self.reader.dispose()
        await self.writer.dispose()


def insert_into(
    session: AsyncSession, table: Table | type[Any]
) -> sqlalchemy.dialects.sqlite.Insert | sqlalchemy.dialects.postgresql.Insert:
    """Return an INSERT into `table` that has `on_conflict_do_nothing()` and `on_conflict_do_update()`."""
    if session.get_bind().dialect.name == "sqlite":
        return sqlalchemy.dialects.sqlite.insert(table)
    return sqlalchemy.dialects.postgresql.insert(table)


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; if this task is cancelled meanwhile, finish `work` first."""
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        task.exception()  # retrieved, so that asyncio does not log it
        raise cancellation
    return task.result()
