"""Group commit: what many deliveries want written at about the same time goes into one transaction.

While one transaction is under way, what else is wanted gathers for the next: one flush to disk for as many
as came. All that a courier writes about rows it holds goes through here, so its transactions never wait for
each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from quart import Quart
from sqlalchemy.exc import DBAPIError

from app.database import Database, DatabaseUnavailable, Transaction
from app.outbox import claim as claims
from app.outbox import held
from app.outbox.claim import Claim, Room
from app.outbox.fence import fence
from app.outbox.group import Entry, Group, Taking, split
from app.outbox.rules import Settlement
from app.outbox.settle import settle

AGAIN_SECONDS = 0.5
"""How long a settlement that could not be written waits for its next try."""
COMPANY_SECONDS = 0.02
"""How long a group waits for deliveries that are under way to join it."""


class Ledger:
    """Writes what one courier does, in groups; one task at a time does it.

    At most `most` of its rows are in `sending` at once.
    """

    def __init__(self, app: Quart, clock: Callable[[], datetime], most: int = 8) -> None:
        self._database: Database = app.extensions["database"]
        self._clock = clock
        self._most = most
        self._waiting: list[Entry] = []
        self._taking: Taking | None = None
        self._sending: set[Claim] = set()
        self._joined = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self.commits = 0

    async def take(self, room: Room, lease: float) -> list[Claim]:
        """Claim what is due, `lease` in seconds; one caller at a time. Raises DatabaseUnavailable."""
        self._taking = Taking(room, lease, asyncio.get_running_loop().create_future())
        taken = self._taking.taken
        self._begin()
        return await taken

    async def fence(self, claim: Claim) -> bool:
        """Write that DATA of `claim` begins, when there is a place in `sending`; False when it may not.

        Raises DatabaseUnavailable.
        """
        return await self._write(claim)

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

    async def renew(self, ours: list[Claim], lease: float) -> list[Claim]:
        """Lengthen the leases of `ours` to `lease` seconds; return those that are lost."""
        lease_end = self._clock() + timedelta(seconds=lease)  # no later than what will be written
        kept = await asyncio.gather(*(self._write(claim, renew=lease) for claim in ours))
        for claim, is_kept in zip(ours, kept, strict=True):
            if is_kept:
                claim.lease_end = lease_end
        return [claim for claim, is_kept in zip(ours, kept, strict=True) if not is_kept]

    def forget(self, claim: Claim) -> None:
        """Give up the place in `sending` of a claim nobody will settle."""
        self._waiting = [e for e in self._waiting if e.claim is not claim or not e.passed.done()]
        if claim in self._sending:
            self._sending.discard(claim)
            self._begin()

    async def _write(
        self, claim: Claim, settlement: Settlement | None = None, renew: float | None = None
    ) -> bool:
        entry = Entry(claim, settlement, renew, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        self._joined.set()
        self._begin()
        return await entry.passed

    def _begin(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="outbox ledger")

    async def _write_all(self) -> None:
        while await self._gather_company() and (group := self._next_group()):
            try:
                await self._commit_or_split(group)
            except BaseException as error:
                group.fail(error)
                if not isinstance(error, Exception):
                    Group(self._waiting, self._taking).fail(error)
                    raise

    async def _gather_company(self) -> bool:
        """Wait a moment for as long as deliveries are under way that may join: commits are dear.

        Returns whether anything is wanted at all.
        """
        await asyncio.sleep(0)  # those who are about to ask too, ask now
        if not self._waiting and self._taking is None:
            return False
        try:
            async with asyncio.timeout(COMPANY_SECONDS):
                while self._is_company_under_way():
                    self._joined.clear()
                    await self._joined.wait()
        except TimeoutError:
            pass
        return True

    def _is_company_under_way(self) -> bool:
        come = {entry.claim for entry in self._waiting}
        return bool(self._sending - come)

    def _next_group(self) -> Group:
        entries, self._waiting = split(self._waiting, len(self._sending), self._most)
        group, self._taking = Group(entries, self._taking), None
        return group

    async def _commit_or_split(self, group: Group) -> None:
        """Write one group; if the database refuses it, wish by wish: what is wrong with one is its own."""
        try:
            await self._commit(group)
        except DBAPIError:
            wishes = group.wishes()
            if len(wishes) == 1:
                raise
            for wish in wishes:
                try:
                    await self._commit(wish)
                except DBAPIError as own:
                    wish.fail(own)

    async def _commit(self, group: Group) -> None:
        """Write one group, and tell each who asked."""
        passed, taken = await self._database.change(partial(self._write_group, group))
        self.commits += 1
        for entry in group.entries:
            if entry.settlement is not None:
                self._sending.discard(entry.claim)
            elif entry.is_fence and entry.claim.id in passed:
                entry.claim.is_fenced = True
                self._sending.add(entry.claim)
        group.tell(passed, taken)

    async def _write_group(
        self, group: Group, transaction: Transaction
    ) -> tuple[set[int], list[Claim]]:
        """Write what is wanted for claims that are held, and claim more.

        Returns the ids of those whose wish went through, and the new claims. The time is taken inside the
        transaction, when the waiting for it is over.
        """
        now = self._clock()
        settled = [(e.claim, e.settlement) for e in group.entries if e.settlement is not None]
        renewed = [e.claim for e in group.entries if e.renew is not None]
        fenced = [e.claim for e in group.entries if e.is_fence]
        passed = await settle(transaction, settled, now=now)
        if renewed:
            lease = max(entry.renew or 0.0 for entry in group.entries)
            passed |= await held.renew(transaction, renewed, now=now, lease=lease)
        passed |= await fence(transaction, fenced, now=now)
        if group.taking is None:
            return passed, []
        room, lease = group.taking.room, group.taking.lease
        return passed, await claims.take(transaction, room, now=self._clock(), lease=lease)
