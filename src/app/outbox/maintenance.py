"""Maintenance: expire, purge and retry rows, and repair the times that a clock set back leaves behind."""

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy import and_, bindparam, case, delete, or_, select, update

from app.database import UtcDateTime
from app.outbox import transitions
from app.outbox.models import IS_NEEDED, Priority, State, contents, table
from app.outbox.posting import wake_after_commit
from app.outbox.state import Outbox

_log = logging.getLogger(__name__)
PURGED_AT_ONCE = 1000
"""Rows deleted by one transaction, so that other writers wait only for a moment."""

PURGE_SECONDS = 3600.0
"""How often a courier purges."""

CLOCK_CHECK_SECONDS = 60.0
"""How often a courier looks for times that a clock set back has left in the future."""

CLOCK_SKEW = timedelta(seconds=60)
"""How far apart the clocks of machines that share an outbox may be."""

LONGEST_WAIT = timedelta(days=2)
"""More than any wait or lease: OUTBOX_RETRY_MAX, OUTBOX_PROBE_MAX and OUTBOX_LEASE are a day at most, and
renderers postpone mails by a day at most."""

RETRYABLE = (State.FAILED.value, State.EXPIRED.value)

_now = bindparam("now_", type_=UtcDateTime())
_IN_FUTURE = and_(
    table.c.priority.in_([*Priority]),
    table.c.due_at > bindparam("soon", type_=UtcDateTime()),
    or_(
        and_(table.c.created_at > bindparam("soon"), table.c.attempts == 0),
        table.c.due_at > bindparam("latest", type_=UtcDateTime()),
    ),
)
FIND_IN_FUTURE = select(table.c.id).where(_IN_FUTURE).limit(1)
REPAIR_CLOCK_SKEW = (
    update(table)
    .where(_IN_FUTURE)
    .values(
        due_at=case((table.c.claim_id.is_(None), _now), else_=bindparam("lease_end", type_=UtcDateTime()))
    )
)


class NoSuchMail(LookupError):
    """No delivery has this number: it never existed, or it was purged."""


class Maintenance:
    """The maintenance that a courier does besides delivering."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._purge_at = 0.0
        self._check_clock_at = 0.0

    async def expire(self) -> None:
        """Move mails past their expiry to `expired`."""
        async with self._outbox.database.transaction() as connection:
            transient = [kind.name for kind in self._outbox.kinds.values() if kind.transient]
            expired = await transitions.expire(connection, now=self._outbox.clock(), transient=transient)
        if expired:
            _log.warning("Mails expired: %s", expired)
            self._outbox.notify_done(expired)

    async def purge(self) -> bool:
        """Purge once an hour, some rows at a time; return whether there are more."""
        if time.monotonic() < self._purge_at:
            return False
        if await purge_some(self._outbox) == PURGED_AT_ONCE:
            return True
        await self._outbox.database.truncate_log()
        self._purge_at = time.monotonic() + PURGE_SECONDS
        return False

    async def repair_clock_skew(self, last_due_at: datetime | None, now: datetime) -> bool:
        """Make rows due whose times show that the clock was set back; return whether there were any.

        These are rows that were created in the future and never tried, and rows that are due later than any
        setting allows, in whatever process: this one may use shorter waits than others. A process that still
        owns a row renews its lease in time.
        """
        if last_due_at is None or last_due_at <= now + CLOCK_SKEW:
            return False
        if time.monotonic() < self._check_clock_at:
            return False
        self._check_clock_at = time.monotonic() + CLOCK_CHECK_SECONDS
        values = {"soon": now + CLOCK_SKEW, "latest": now + LONGEST_WAIT}
        async with self._outbox.database.reading() as connection:
            if (await connection.execute(FIND_IN_FUTURE, values)).first() is None:
                return False
        lease_end = now + timedelta(seconds=self._outbox.lease)
        async with self._outbox.database.transaction() as connection:
            await connection.execute(REPAIR_CLOCK_SKEW, values | {"now_": now, "lease_end": lease_end})
        _log.warning("The system clock was set back; mail scheduled in the future is due now")
        return True


async def retry(outbox: Outbox, id_: int) -> bool:
    """Queue a failed or expired delivery again, with its Message-ID; return False if that is not possible.

    That is so for a mail in another state, for one whose content was erased (of a transient kind, or of a
    deleted account), and for one whose kind has an expiry of its own that is over, because its link would be
    invalid. Raises NoSuchMail.
    """
    now = outbox.clock()
    async with outbox.database.writing() as session:
        is_erased = and_(table.c.params.is_(None), table.c.content_id.is_(None))
        columns = select(table.c.kind, table.c.created_at, table.c.state, is_erased.label("is_erased"))
        row = (await session.execute(columns.where(table.c.id == id_))).first()
        if row is None:
            raise NoSuchMail(f"There is no mail {id_}.")
        if row.state not in RETRYABLE or row.is_erased:
            return False
        expires_at = _new_expiry(outbox, row.kind, row.created_at, now)
        if expires_at <= now:
            return False
        values = {"state": State.QUEUED.value, "due_at": now, "done_at": None}
        await session.execute(
            update(table)
            .where(table.c.id == id_, table.c.state.in_(RETRYABLE))
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
    """Delete deliveries done more than `keep` seconds ago (default OUTBOX_KEEP); return how many.

    Waiting mail is never purged.
    """
    purged = count = await purge_some(outbox, keep)
    while count == PURGED_AT_ONCE:
        count = await purge_some(outbox, keep)
        purged += count
    return purged


async def purge_some(outbox: Outbox, keep: float | None = None) -> int:
    """Purge at most PURGED_AT_ONCE deliveries in one transaction; return how many."""
    before = outbox.clock() - timedelta(seconds=outbox.keep if keep is None else keep)
    old = select(table.c.id).where(table.c.done_at < before, table.c.due_at.is_(None)).limit(PURGED_AT_ONCE)
    async with outbox.database.writing() as session:
        ids = (await session.execute(old)).scalars().all()
        await session.execute(delete(table).where(table.c.id.in_(ids)))
        if len(ids) < PURGED_AT_ONCE:
            unused = delete(contents).where(~IS_NEEDED, contents.c.created_at < before)
            await session.execute(unused)
    return len(ids)
