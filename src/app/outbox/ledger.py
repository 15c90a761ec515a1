"""Group commit: what many deliveries want written at about the same time goes into one transaction.

While one transaction is under way, what else is wanted gathers for the next: one flush to disk for as many
as came. All that a courier writes about rows it holds goes through here, so its transactions never wait for
each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quart import Quart
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Database, DatabaseUnavailable
from app.outbox import claim as claims
from app.outbox.claim import Claim, Room
from app.outbox.fence import fence
from app.outbox.rules import Settlement
from app.outbox.settle import settle

AGAIN_SECONDS = 0.5
"""How long a settlement that could not be written waits for its next try."""


@dataclass(slots=True, eq=False)
class _Entry:
    """One wish: to settle, to fence (no settlement), or to `renew` the claim for so many seconds."""

    claim: Claim
    settlement: Settlement | None
    renew: float | None
    passed: asyncio.Future[bool]


@dataclass(slots=True)
class _Taking:
    room: Room
    lease: float
    taken: asyncio.Future[list[Claim]]


@dataclass(slots=True)
class _Group:
    """What one transaction writes; one entry for each row, and one taking."""

    entries: list[_Entry] = field(default_factory=list)
    taking: _Taking | None = None

    def fail(self, error: BaseException) -> None:
        futures: list[asyncio.Future[Any]] = [entry.passed for entry in self.entries]
        if self.taking is not None:
            futures.append(self.taking.taken)
        for future in futures:
            if future.done():
                continue
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()


class Ledger:
    """Writes what one courier does, in groups; one task at a time does it."""

    def __init__(self, app: Quart, clock: Callable[[], datetime]) -> None:
        self._database: Database = app.extensions["database"]
        self._clock = clock
        self._waiting: list[_Entry] = []
        self._taking: _Taking | None = None
        self._writer: asyncio.Task[None] | None = None
        self.commits = 0

    async def take(self, room: Room, lease: float) -> list[Claim]:
        """Claim what is due, `lease` in seconds; one caller at a time. Raises DatabaseUnavailable."""
        self._taking = _Taking(room, lease, asyncio.get_running_loop().create_future())
        taken = self._taking.taken
        self._begin()
        return await taken

    async def fence(self, claim: Claim) -> bool:
        """Write that DATA of `claim` begins; False when it may not. Raises DatabaseUnavailable."""
        claim.is_fenced = await self._write(claim)
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

    async def renew(self, held: list[Claim], lease: float) -> list[Claim]:
        """Lengthen the leases of `held` to `lease` seconds; return those that are lost."""
        kept = await asyncio.gather(*(self._write(claim, renew=lease) for claim in held))
        return [claim for claim, is_kept in zip(held, kept, strict=True) if not is_kept]

    async def _write(
        self, claim: Claim, settlement: Settlement | None = None, renew: float | None = None
    ) -> bool:
        entry = _Entry(claim, settlement, renew, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._begin()
        return await entry.passed

    def _begin(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="outbox ledger")

    async def _write_all(self) -> None:
        while self._waiting or self._taking is not None:
            await asyncio.sleep(0)  # those who are about to ask too, ask now
            group = self._next_group()
            try:
                await self._commit(group)
            except BaseException as error:
                group.fail(error)
                if not isinstance(error, Exception):
                    _Group(self._waiting, self._taking).fail(error)
                    raise

    def _next_group(self) -> _Group:
        """Take one wish for each row, as a lost claim and a new one of the same row are no group."""
        first: dict[int, _Entry] = {}
        rest = [e for e in self._waiting if first.setdefault(e.claim.id, e) is not e]
        group = _Group(list(first.values()), self._taking)
        self._waiting, self._taking = rest, None
        return group

    async def _commit(self, group: _Group) -> None:
        """Write one group, and tell each who asked."""
        async with self._database.writing() as session:
            connection = await session.connection()
            passed = await self._write_group(connection, group.entries) if group.entries else set()
            taken = await self._take(connection, group.taking) if group.taking else []
        self.commits += 1
        for entry in group.entries:
            if not entry.passed.done():
                entry.passed.set_result(entry.claim.id in passed)
        if group.taking is not None and not group.taking.taken.done():
            group.taking.taken.set_result(taken)

    async def _take(self, connection: AsyncConnection, taking: _Taking) -> list[Claim]:
        return await claims.take(connection, taking.room, now=self._clock(), lease=taking.lease)

    async def _write_group(self, connection: AsyncConnection, entries: list[_Entry]) -> set[int]:
        """Write what is wanted for claims that are held; return the ids of those that went through.

        The time is taken inside the transaction, when the waiting for it is over.
        """
        now = self._clock()
        held = await claims.held(connection, [entry.claim for entry in entries], now=now)
        entries = [entry for entry in entries if entry.claim.key in held]
        settled = [(e.claim, e.settlement) for e in entries if e.settlement is not None]
        renewed = [entry for entry in entries if entry.renew is not None]
        fenced = [e.claim for e in entries if e.settlement is None and e.renew is None]
        if settled:
            await settle(connection, settled, now=now)
        if renewed:
            lease = renewed[0].renew or 0.0
            await claims.renew(connection, [e.claim for e in renewed], now=now, lease=lease)
        passed = await fence(connection, fenced, now=now) if fenced else set()
        return passed | {claim.id for claim, _ in settled} | {entry.claim.id for entry in renewed}
