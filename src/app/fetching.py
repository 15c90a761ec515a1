"""Reading for pages: a SELECT is compiled once, and each run of it is one exchange with the driver.

SQLAlchemy's adapter makes about four hops to aiosqlite's thread per statement, 0.2 to 0.7 ms each, and
builds much around a row; a page view has time for neither. What is read this way are plain tuples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select

from app.database import reading


class Query:
    """A SELECT of columns, its variable parts `bindparam`s; make it once, at import."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement


async def fetch(query: Query, **parameters: Any) -> Sequence[tuple[Any, ...]]:
    """Return the rows of `query`; raise DatabaseUnavailable when there are none in time."""
    async with reading() as connection:
        rows = await connection.execute(query.statement, parameters)
        return [tuple(row) for row in rows]
