"""What is done to rows that are done: tried once more, or purged."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from app.outbox.claim import table
from app.outbox.models import NEEDED, Content, State
from app.outbox.post import wake_after_commit
from app.outbox.state import Outbox

PURGED_AT_ONCE = 1000
"""Rows deleted by one transaction: who waits to write waits a moment only."""

RETRIED = (State.FAILED.value, State.EXPIRED.value)


class NoSuchMail(LookupError):
    """No delivery has this number: it never had, or it was purged."""


async def retry(outbox: Outbox, id_: int) -> bool:
    """Queue a failed or expired delivery again, with its Message-ID; False when it is neither.

    A kind with an expiry of its own keeps it, counted from the request: a link that was good for ten minutes
    is not made good again, and False says that it is too late. Raises NoSuchMail.
    """
    now = outbox.clock()
    async with outbox.database.writing() as session:
        asked = select(table.c.kind, table.c.created_at, table.c.state)
        row = (await session.execute(asked.where(table.c.id == id_))).first()
        if row is None:
            raise NoSuchMail(f"there is no mail {id_}")
        if row.state not in RETRIED:
            return False
        expires_at = _new_expiry(outbox, row.kind, row.created_at, now)
        if expires_at <= now:
            return False
        values = {"state": State.QUEUED.value, "due_at": now, "done_at": None}
        await session.execute(
            update(table)
            .where(table.c.id == id_, table.c.state.in_(RETRIED))
            .values(expires_at=expires_at, **values)
        )
        wake_after_commit(outbox, session)
    return True


def _new_expiry(outbox: Outbox, kind: str, created_at: datetime, now: datetime) -> datetime:
    registered = outbox.kinds.get(kind)
    if registered is not None and registered.expiry is not None:
        return created_at + timedelta(seconds=registered.expiry)
    return now + timedelta(seconds=outbox.default_expiry)


async def purge(outbox: Outbox, keep: float | None = None) -> int:
    """Delete what has been done for more than `keep` seconds (OUTBOX_KEEP if not given); return how many.

    Mails that still wait are never purged.
    """
    purged = some = await purge_some(outbox, keep)
    while some == PURGED_AT_ONCE:
        some = await purge_some(outbox, keep)
        purged += some
    return purged


async def purge_some(outbox: Outbox, keep: float | None = None) -> int:
    """Do as `purge` for PURGED_AT_ONCE mails at most, in one transaction."""
    before = outbox.clock() - timedelta(seconds=outbox.keep if keep is None else keep)
    old = (
        select(table.c.id)
        .where(table.c.done_at < before, table.c.due_at.is_(None))
        .limit(PURGED_AT_ONCE)
    )
    async with outbox.database.writing() as session:
        ids = (await session.execute(old)).scalars().all()
        await session.execute(delete(table).where(table.c.id.in_(ids)))
        if len(ids) < PURGED_AT_ONCE:
            await session.execute(
                delete(Content)
                .where(~NEEDED, Content.created_at < before)
                .execution_options(synchronize_session=False)
            )
    return len(ids)
