"""Reading for pages: a SELECT is compiled once, and each run of it is one exchange with the driver.

SQLAlchemy's adapter makes about four hops to aiosqlite's thread per statement, 0.2 to 0.7 ms each, and
builds much around a row; a page view has time for neither. What is read this way are plain tuples.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select

from app.database import reading

Statement = Select[*tuple[Any, ...]]


class Query:
    """A SELECT of columns, its variable parts `bindparam`s; make it once, at import.

    `postgresql`: the SELECT to run there instead, where one wording is not fast on both.
    """

    def __init__(self, statement: Statement, postgresql: Statement | None = None) -> None:
        self.statements = {"postgresql": statement if postgresql is None else postgresql}
        self.default = statement

    def on(self, dialect: str) -> Statement:
        """Return the SELECT for a kind of database."""
        return self.statements.get(dialect, self.default)


async def fetch(query: Query, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of `query`; raise DatabaseUnavailable when there are none in time."""
    async with reading() as connection:
        rows = await connection.execute(query.on(connection.dialect.name), parameters)
        return [tuple(row) for row in rows]
