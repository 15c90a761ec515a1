"""Reading for pages: a query is one exchange with the driver (`app.database.leases` says what it saves)."""

from __future__ import annotations

from typing import Any

from quart import current_app

from app.database.engines import Database
from app.database.plans import Query


async def fetch(query: Query, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of `query`; raise DatabaseUnavailable when there are none in time."""
    database: Database = current_app.extensions["database"]
    plan = query.on(database.reader.dialect)
    return plan.rows(await database.read(plan.sql, plan.arguments(parameters)))
