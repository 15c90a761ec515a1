"""What is next: when rows are due, and when the next one expires."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from app.database import Database
from app.outbox.models import Delivery, Priority


class Agenda(NamedTuple):
    """When the first row is due and the last one, and when the first expires (aware UTC); None for never."""

    due_at: datetime | None
    last_due_at: datetime | None
    expires_at: datetime | None


LOOK = select(
    *(
        select(end(Delivery.due_at)).where(Delivery.priority == priority).scalar_subquery()
        for end in (func.min, func.max)
        for priority in Priority
    ),
    select(func.min(Delivery.expires_at)).where(Delivery.expires_at.is_not(None)).scalar_subquery(),
)
"""Each number is the first or last entry of an index range, however many rows there are."""


async def look(database: Database) -> Agenda:
    """Return what is next."""
    async with database.reading() as connection:
        *dues, expires_at = (await connection.execute(LOOK)).one()
    known = [due for due in dues if due is not None]
    return Agenda(min(known, default=None), max(known, default=None), expires_at)


async def count_due(database: Database, *, now: datetime, most: int) -> int:
    """Return how many rows are due at `now`, counting no further than `most`."""
    due = select(Delivery.id).where(Delivery.priority.in_([*Priority]), Delivery.due_at <= now)
    counted = select(func.count()).select_from(due.limit(most).subquery())
    async with database.reading() as connection:
        return await connection.scalar(counted) or 0
