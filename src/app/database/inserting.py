"""INSERTs that may meet a row that is there already."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession


def insert_into(
    session: AsyncSession, table: Table | type[Any]
) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT into `table` that takes `on_conflict_...`, in the words of the session's database."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)
