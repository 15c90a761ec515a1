"""Transactions whose statements each are one exchange with the driver, for who makes many of them.

A session, its connection and SQLAlchemy's adapters take two thirds of the time of a transaction of three
short statements (benchmarks/outbox.py has the outbox's).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sqlalchemy import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.reads import Query, run_on_driver

Values = Mapping[str, Any]


class Transaction(Protocol):
    """What runs the statements of one transaction."""

    dialect: Dialect

    async def run(self, query: Query, values: Values) -> list[tuple[Any, ...]]:
        """Return the rows of `query`."""


class DriverTransaction:
    """By the driver's own connection."""

    def __init__(self, dialect: Dialect, driver: Any) -> None:
        self.dialect = dialect
        self.driver = driver

    async def run(self, query: Query, values: Values) -> list[tuple[Any, ...]]:
        """Return the rows of `query`; raises the driver's own errors."""
        plan = query.compile(self.dialect)
        return plan.rows(
            await run_on_driver(self.driver, self.dialect, plan.sql, plan.arguments(values))
        )


class SqlalchemyTransaction:
    """By a connection of SQLAlchemy's that is in a transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.dialect = connection.dialect
        self.connection = connection

    async def run(self, query: Query, values: Values) -> list[tuple[Any, ...]]:
        """Return the rows of `query`; raises DBAPIError."""
        plan = query.compile(self.dialect)
        found = await self.connection.exec_driver_sql(plan.sql, tuple(plan.arguments(values)))
        return plan.rows(found.all() if found.returns_rows else [])


@asynccontextmanager
async def begin(connection: AsyncConnection) -> AsyncIterator[Transaction]:
    """Begin a transaction and commit it; after any error `connection` is fit to be thrown away only."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    dialect = connection.dialect
    await run_on_driver(
        driver, dialect, "BEGIN IMMEDIATE" if dialect.name == "sqlite" else "BEGIN", ()
    )
    yield DriverTransaction(dialect, driver)
    await run_on_driver(driver, dialect, "COMMIT", ())
