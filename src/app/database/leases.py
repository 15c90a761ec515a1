"""Driver connections for single exchanges: taken out of an engine's pool once, and kept.

SQLAlchemy's adapters for asyncio pass each of their steps through a greenlet, and a connection goes through
its pool for every statement. A page that reads twice feels both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Dialect
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Rows = Sequence[Sequence[Any]]


class Driver(Protocol):
    """What is asked of aiosqlite's connections and of asyncpg's: each has one of the two."""

    async def execute_fetchall(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """Run a statement and return its rows (aiosqlite)."""

    async def fetch(self, sql: str, *arguments: Any) -> Rows:
        """Run a statement and return its rows (asyncpg)."""


async def ask(driver: Driver, dialect: Dialect, sql: str, arguments: Sequence[Any]) -> Rows:
    """Return the rows of one statement; raises the driver's own errors."""
    if dialect.name == "sqlite":
        return await driver.execute_fetchall(sql, arguments)
    return await driver.fetch(sql, *arguments)


class RawReadPool:
    """At most `count` connections of `engine`, which is in autocommit; one is waited for `wait` seconds."""

    def __init__(self, engine: AsyncEngine, *, count: int, wait: float) -> None:
        self.engine = engine
        self.wait = wait
        self.free = asyncio.Semaphore(count)
        self.idle: list[tuple[AsyncConnection, Driver]] = []

    async def read(self, sql: str, arguments: Sequence[Any]) -> Rows:
        """Return the rows of one SELECT; raise the driver's own errors, or SQLAlchemy's for no connection."""
        await self._take_turn()
        try:
            connection, driver = self.idle.pop() if self.idle else await self._connect()
            try:
                rows = await ask(driver, self.engine.dialect, sql, arguments)
            except BaseException:
                # Also a cancelled exchange leaves a connection in an unknown state.
                await connection.invalidate()
                await connection.close()
                raise
            self.idle.append((connection, driver))
            return rows
        finally:
            self.free.release()

    async def close(self) -> None:
        """Give every connection back."""
        while self.idle:
            connection, _ = self.idle.pop()
            await connection.close()

    async def _take_turn(self) -> None:
        if not self.free.locked():
            await self.free.acquire()
            return
        try:
            async with asyncio.timeout(self.wait):
                await self.free.acquire()
        except TimeoutError as error:
            raise PoolTimeoutError("every connection is in use") from error

    async def _connect(self) -> tuple[AsyncConnection, Driver]:
        connection = await self.engine.connect()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return connection, driver
