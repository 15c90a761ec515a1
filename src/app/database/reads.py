"""Raw reads: run the SELECTs of pages on the driver itself. The one deliberate bypass of SQLAlchemy.

SQLAlchemy still writes the SQL (once per statement) and opens the connections. The bypass saves its work per
read: compiling, checking a connection out and in, a greenlet switch and, on SQLite, a wait for the
connection's thread for each of cursor, execute, fetch and close. A page built from raw reads is served 1.7 to
2 times as fast as one that uses SQLAlchemy Core (`python -m benchmarks.pages`).

On SQLite a SELECT also returns its rows as one JSON text: sqlite3 releases the GIL at every row, and its
thread then waits until the busy event loop gives the GIL back. For a page of 26 rows that is 27 waits, a
third of the time of a loaded site.

The price: a statement takes exactly the parameters named by its `bindparam`s, rows are plain tuples, and JSON
cannot hold BLOBs. Text columns are therefore cast to text.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Dialect, Select, String
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import TypeEngine

Statement = Select[*tuple[Any, ...]]
Convert = Callable[[Any], Any]
Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A statement compiled for one dialect: its SQL and the conversions of values."""

    sql: str
    is_packed: bool
    names: Sequence[str]
    constants: Mapping[str, Any]
    required: frozenset[str]
    binders: Mapping[str, Convert]
    converters: Sequence[tuple[int, Convert]]

    @classmethod
    def of(cls, statement: Statement, dialect: Dialect) -> Self:
        """Compile `statement`."""
        compiled = statement.compile(dialect=dialect)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        binders = {
            name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in binds.items()
        }
        types = [column.type.dialect_impl(dialect) for column in statement.exported_columns]
        converters = [type_.result_processor(dialect, None) for type_ in types]
        is_packed = dialect.name == "sqlite"
        return cls(
            sql=_packed(str(compiled), types) if is_packed else str(compiled),
            is_packed=is_packed,
            names=compiled.positiontup or (),
            constants={name: bind.value for name, bind in binds.items() if not bind.required},
            required=frozenset(name for name, bind in binds.items() if bind.required),
            binders={name: binder for name, binder in binders.items() if binder},
            converters=[(index, convert) for index, convert in enumerate(converters) if convert],
        )

    def arguments(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the driver's positional arguments; raise TypeError for missing or unknown names."""
        if parameters.keys() != self.required:
            missing = sorted(self.required - parameters.keys())
            unknown = sorted(parameters.keys() - self.required)
            raise TypeError(f"wrong parameters: missing {missing}, unknown {unknown}")
        values = {**self.constants, **parameters}
        for name, binder in self.binders.items():
            values[name] = binder(values[name])
        return [values[name] for name in self.names]

    def rows(self, results: Rows) -> list[tuple[Any, ...]]:
        """Return the driver's `results` as tuples of Python values."""
        rows = []
        for result in json.loads(results[0][0]) if self.is_packed else results:
            row = list(result)
            for index, convert in self.converters:
                row[index] = convert(row[index])
            rows.append(tuple(row))
        return rows


class Query:
    """A SELECT whose variable parts are `bindparam`s. Create it once, at import.

    `postgresql`: the statement to run there instead, where one wording is not fast on both databases. It
    takes the same parameters.
    """

    def __init__(self, statement: Statement, postgresql: Statement | None = None) -> None:
        self._statement = statement
        self._on_postgresql = statement if postgresql is None else postgresql
        self._compiled: dict[str, CompiledQuery] = {}

    def compile(self, dialect: Dialect) -> CompiledQuery:
        """Return the statement compiled for `dialect`; the first call compiles it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            is_postgresql = dialect.name == "postgresql"
            statement = self._on_postgresql if is_postgresql else self._statement
            compiled = self._compiled[dialect.name] = CompiledQuery.of(statement, dialect)
        return compiled


def _packed(sql: str, types: Sequence[TypeEngine[Any]]) -> str:
    """Return a SELECT of one value: the rows of `sql` as a JSON array of arrays."""
    columns = [f"c{index}" for index in range(len(types))]
    values = [
        f"CAST({column} AS TEXT)" if isinstance(type_, String) else column
        for column, type_ in zip(columns, types, strict=True)
    ]
    return (
        f"WITH row({', '.join(columns)}) AS MATERIALIZED ({sql}) "  # noqa: S608 -- values are bound
        f"SELECT json_group_array(json_array({', '.join(values)})) FROM row"
    )


class RawReadPool:
    """Up to `count` connections of `engine`, checked out of its own pool once and kept.

    `engine` must be in autocommit mode. A read waits up to `wait` seconds for a connection.
    """

    def __init__(self, engine: AsyncEngine, *, count: int, wait: float) -> None:
        self.engine = engine
        self.wait = wait
        self.free = asyncio.Semaphore(count)
        self.idle: list[tuple[AsyncConnection, Any]] = []  # each with that of aiosqlite or asyncpg

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """Return the rows of one SELECT; raise the driver's own errors, or SQLAlchemy's TimeoutError."""
        await self._acquire()
        try:
            connection, driver = self.idle.pop() if self.idle else await self._connect()
            try:
                if self.engine.dialect.name == "sqlite":
                    rows: Rows = await driver.execute_fetchall(sql, arguments)
                else:
                    rows = await driver.fetch(sql, *arguments)
            except BaseException:
                # Cancellation, too, leaves a connection in an unknown state.
                await connection.invalidate()
                await connection.close()
                raise
            self.idle.append((connection, driver))
            return rows
        finally:
            self.free.release()

    async def close(self) -> None:
        """Return every connection to the engine's pool."""
        while self.idle:
            connection, _ = self.idle.pop()
            await connection.close()

    async def _acquire(self) -> None:
        if not self.free.locked():
            await self.free.acquire()
            return
        try:
            async with asyncio.timeout(self.wait):
                await self.free.acquire()
        except TimeoutError as error:
            raise PoolTimeoutError("every connection is in use") from error

    async def _connect(self) -> tuple[AsyncConnection, Any]:
        connection = await self.engine.connect()
        return connection, (await connection.get_raw_connection()).driver_connection
