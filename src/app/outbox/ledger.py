"""Group commit: what many deliveries want written at about the same time goes into one transaction.

While one transaction is under way, what else is wanted gathers for the next: no waiting for company, and
one flush to disk for as many as came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from quart import Quart
from sqlalchemy.exc import DBAPIError

from app.database import Database, DatabaseUnavailable
from app.outbox import claim as claims
from app.outbox.claim import Claim
from app.outbox.rules import Settlement
from app.outbox.settle import settle

AGAIN_SECONDS = 0.5
"""How long a settlement that could not be written waits for its next try."""


@dataclass(slots=True, eq=False)
class _Entry:
    claim: Claim
    settlement: Settlement | None
    """None: the claim is to be fenced."""
    passed: asyncio.Future[bool]


class Ledger:
    """Writes fences and settlements of one courier in groups."""

    def __init__(self, app: Quart, clock: Callable[[], datetime]) -> None:
        self._database: Database = app.extensions["database"]
        self._clock = clock
        self._waiting: list[_Entry] = []
        self._writer: asyncio.Task[None] | None = None
        self.commits = 0

    async def fence(self, claim: Claim) -> bool:
        """Write that DATA of `claim` begins; False when it may not. Raises DatabaseUnavailable."""
        claim.is_fenced = await self._write(claim, None) and self._clock() < claim.lease_end
        return claim.is_fenced

    async def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Write what became of `claim`; False when it is ours no more.

        A database that does not answer is asked again for as long as the lease runs: what was sent should
        not be sent twice for that.
        """
        while self._clock() < claim.lease_end:
            try:
                return await self._write(claim, settlement)
            except (DatabaseUnavailable, DBAPIError):
                await asyncio.sleep(AGAIN_SECONDS)
        return False

    async def _write(self, claim: Claim, settlement: Settlement | None) -> bool:
        entry = _Entry(claim, settlement, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="outbox ledger")
        return await entry.passed

    async def _write_all(self) -> None:
        while self._waiting:
            entries, self._waiting = self._waiting, []
            try:
                passed = await self._commit(entries)
            except BaseException as error:
                _fail(entries, error)
                if not isinstance(error, Exception):
                    _fail(self._waiting, error)
                    raise
            else:
                self.commits += 1
                for entry in entries:
                    if not entry.passed.done():
                        entry.passed.set_result(entry.claim.id in passed)

    async def _commit(self, entries: list[_Entry]) -> set[int]:
        """Write one group; the time is taken inside the transaction, when the waiting for it is over."""
        fences = [entry.claim for entry in entries if entry.settlement is None]
        settled = [(e.claim, e.settlement) for e in entries if e.settlement is not None]
        passed: set[int] = set()
        async with self._database.writing() as session:
            await session.connection()
            now = self._clock()
            if settled:
                passed |= await settle(session, settled, now=now)
            if fences:
                passed |= await claims.fence(session, fences, now=now)
        return passed

    async def renew(self, held: list[Claim], lease: float) -> list[Claim]:
        """Lengthen the leases of `held` to `lease` seconds; return those that are lost."""
        async with self._database.writing() as session:
            await session.connection()
            now = self._clock()
            kept = await claims.renew(session, held, now=now, lease=lease)
        for claim in held:
            if claim.id in kept:
                claim.lease_end = now + timedelta(seconds=lease)
        return [claim for claim in held if claim.id not in kept]


def _fail(entries: list[_Entry], error: BaseException) -> None:
    for entry in entries:
        if not entry.passed.done():
            if isinstance(error, Exception):
                entry.passed.set_exception(error)
            else:
                entry.passed.cancel()
