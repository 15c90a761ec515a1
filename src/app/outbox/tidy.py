"""What a courier does besides delivering: expiry, purging, and mending what a clock that went back left."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from sqlalchemy import bindparam, case, update

from app.database import UtcDateTime
from app.outbox.claim import table
from app.outbox.expire import expire
from app.outbox.models import Priority
from app.outbox.state import Outbox
from app.outbox.upkeep import PURGED_AT_ONCE, purge_some

_log = logging.getLogger(__name__)
PURGE_SECONDS = 3600.0
CLOCKS_SECONDS = 60.0
"""How far apart the clocks of machines that share an outbox may be."""

BRING_BACK = (
    update(table)
    .where(
        table.c.priority.in_([*Priority]),
        table.c.due_at > bindparam("latest", type_=UtcDateTime()),
    )
    .values(
        due_at=case(
            (table.c.claim_id.is_(None), bindparam("now_", type_=UtcDateTime())),
            else_=bindparam("lease_end", type_=UtcDateTime()),
        )
    )
)


class Tidying:
    """The upkeep of one outbox by one courier."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._purge_at = 0.0
        times = outbox.times
        longest = max(outbox.lease, times.retry_max, 2 * times.probe_max)
        self._longest = timedelta(seconds=2 * longest + CLOCKS_SECONDS)

    async def expire(self) -> None:
        """Move to `expired` what is too late."""
        async with self._outbox.database.writing() as session:
            expired = await expire(await session.connection(), now=self._outbox.clock())
        if expired:
            _log.warning("%d mails expired: %s", len(expired), expired)
            self._outbox.tell_done(expired)

    async def purge(self) -> bool:
        """Delete some of what was done long ago, once in a while; return whether there is more."""
        if time.monotonic() < self._purge_at:
            return False
        if await purge_some(self._outbox) == PURGED_AT_ONCE:
            return True
        self._purge_at = time.monotonic() + PURGE_SECONDS
        return False

    def is_beyond(self, due_at: datetime | None, now: datetime) -> bool:
        """Return whether `due_at` is further ahead than any wait: the clock has been set back since."""
        return due_at is not None and due_at > now + self._longest

    async def bring_back(self) -> None:
        """Let be due what the clock ran away from; who still holds a row renews it in time."""
        now = self._outbox.clock()
        lease_end = now + timedelta(seconds=self._outbox.lease)
        values = {"now_": now, "latest": now + self._longest, "lease_end": lease_end}
        async with self._outbox.database.writing() as session:
            await (await session.connection()).execute(BRING_BACK, values)
        _log.warning("The clock was set back: mails that would have waited for it are due now")
