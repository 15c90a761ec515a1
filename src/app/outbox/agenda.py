"""What is next: when the next row is due, and when the next one expires."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from app.database import Database
from app.outbox.models import Delivery, Priority


async def look(database: Database) -> tuple[datetime | None, datetime | None]:
    """Return when the next row is due and when the next one expires (aware UTC), None for never.

    Each number is the first entry of an index range, however many rows there are.
    """
    next_due = [
        select(func.min(Delivery.due_at)).where(Delivery.priority == priority).scalar_subquery()
        for priority in Priority
    ]
    next_expiry = select(func.min(Delivery.expires_at)).scalar_subquery()
    async with database.reading() as connection:
        *dues, expiry = (await connection.execute(select(*next_due, next_expiry))).one()
    return min((due for due in dues if due is not None), default=None), expiry


async def count_due(database: Database, *, now: datetime, most: int) -> int:
    """Return how many rows are due at `now`, counting no further than `most`."""
    due = select(Delivery.id).where(Delivery.priority.in_([*Priority]), Delivery.due_at <= now)
    counted = select(func.count()).select_from(due.limit(most).subquery())
    async with database.reading() as connection:
        return await connection.scalar(counted) or 0
