"""Counting failures in the database, where all processes of the site count, and mailing what is due."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import case, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.database import insert_into
from app.reports.email import ErrorReport
from app.reports.models import Failure
from app.reports.noted import Noted

SPACING = timedelta(minutes=10)
KEPT = timedelta(days=30)


async def store(session: AsyncSession, noted: Noted, now: datetime) -> None:
    """Count the errors of `noted`, and mail what is due of its kind; one process at a time for a kind."""
    await _count(session, noted)
    await mail_due(session, now, fingerprint=noted.fingerprint)


async def _count(session: AsyncSession, noted: Noted) -> None:
    statement = insert_into(session, Failure).values(
        fingerprint=noted.fingerprint,
        kind=noted.kind,
        route=noted.route,
        request_id=noted.request_id,
        traceback=noted.traceback,
        count=noted.count,
        first_seen=noted.first_seen,
        last_seen=noted.last_seen,
    )
    new = statement.excluded
    first = case((Failure.count == 0, new.first_seen), else_=Failure.first_seen)
    latest = {name: new[name] for name in ("route", "request_id", "traceback", "last_seen")}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Failure.fingerprint],
            set_=latest | {"count": Failure.count + new.count, "first_seen": first},
        )
    )


async def mail_due(session: AsyncSession, now: datetime, *, fingerprint: str | None = None) -> None:
    """Post a report for each kind with something to tell whose last report is SPACING ago."""
    due = (
        select(Failure)
        .where(
            Failure.count > 0,
            or_(Failure.mailed_at.is_(None), Failure.mailed_at <= now - SPACING),
        )
        .with_for_update(skip_locked=True)
    )
    if fingerprint is not None:
        due = due.where(Failure.fingerprint == fingerprint)
    for failure in (await session.scalars(due)).all():
        await mail(session, failure)
        await session.execute(
            update(Failure)
            .where(Failure.fingerprint == failure.fingerprint)
            .values(count=0, mailed_at=now)
        )


async def mail(session: AsyncSession, seen: Failure | Noted) -> outbox.Handle:
    """Post a report of what was seen of one kind."""
    report = ErrorReport(
        error=seen.kind,
        count=seen.count,
        route=seen.route,
        request_id=seen.request_id,
        traceback=seen.traceback,
        first_seen=f"{seen.first_seen:%Y-%m-%d %H:%M:%S} UTC",
        last_seen=f"{seen.last_seen:%Y-%m-%d %H:%M:%S} UTC",
    )
    return await report.post(session)


async def forget(session: AsyncSession, now: datetime) -> None:
    """Delete the kinds that were not seen for KEPT."""
    await session.execute(delete(Failure).where(Failure.count == 0, Failure.last_seen < now - KEPT))
