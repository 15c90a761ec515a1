"""Group commit: the writes of many deliveries share a transaction, so that they share a flush to disk.

While a transaction is under way, further writes wait for the next one. A process has one BatchWriter for all
its deliveries, so that its transactions never wait for each other's locks. A commit for each write instead
makes delivery 5 times slower (benchmarks/outbox.py).
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable
from app.outbox import claims, transitions
from app.outbox.claims import Claim
from app.outbox.models import Priority
from app.outbox.policy import Settlement
from app.outbox.state import Outbox

_log = logging.getLogger(__name__)
RETRY_SECONDS = 0.5
"""How long a settlement that could not be written waits before it is tried again."""
LINGER_SECONDS = 0.02
"""How long a batch waits for deliveries in `sending` to join it."""


@dataclass(slots=True, eq=False)
class WriteRequest:
    """A write for one claim: its settlement, or None to mark it as sending."""

    claim: Claim
    settlement: Settlement | None
    written: asyncio.Future[bool]


Batch = Sequence[WriteRequest]
"""The writes of one transaction, at most one for each row."""


class BatchWriter:
    """Writes for the claims of this process, keeping at most `most_sending` rows in `sending`."""

    def __init__(self, outbox: Outbox, most_sending: int) -> None:
        self._outbox = outbox
        self._most_sending = most_sending
        self._waiting: list[WriteRequest] = []
        self._sending: set[Claim] = set()
        self._complete = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()
        """Held by each transaction that writes or claims: a mail that is claimed after another one was marked
        as sending is rendered after that commit, and counts it (see `transitions.mark_sending`)."""
        self.commits = 0

    async def mark_sending(self, claim: Claim) -> bool:
        """Move the row to `sending` as soon as there is capacity; return False if it may not be sent.

        Raises DatabaseUnavailable.
        """
        return await self._write(claim, None)

    async def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Write the outcome of an attempt; return False if the claim was lost.

        Retries until the lease ends, because a mail whose acceptance is not written would be sent again.
        """
        while self._outbox.clock() < claim.lease_end:
            try:
                return await self._write(claim, settlement)
            except (DatabaseUnavailable, DBAPIError):
                await asyncio.sleep(RETRY_SECONDS)
        return False

    async def renew(self, owned: Sequence[Claim], lease: float) -> list[Claim]:
        """Let leases end `lease` seconds from now; return the claims that were lost."""
        async with self.lock, self._outbox.database.transaction() as connection:
            now = self._outbox.clock()
            renewed = await claims.still_owned(connection, owned, now=now)
            await claims.renew(connection, renewed, now=now, lease=lease)
        for claim in renewed:
            claim.lease_end = now + timedelta(seconds=lease)
        return [claim for claim in owned if claim not in renewed]

    def forget(self, claim: Claim) -> None:
        """Free the capacity of a claim that will not be settled."""
        self._waiting = [r for r in self._waiting if r.claim is not claim or not r.written.done()]
        if claim in self._sending:
            self._sending.discard(claim)
            self._complete.set()
            self._start()

    async def _write(self, claim: Claim, settlement: Settlement | None) -> bool:
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(WriteRequest(claim, settlement, written))
        if self._is_complete():
            self._complete.set()
        self._start()
        return await written

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all(), name="outbox writer")

    async def _write_all(self) -> None:
        while self._waiting:
            await self._linger()
            batch = self._next_batch()
            if not batch:
                return
            try:
                await self._write_batch(batch)
            except Exception as error:
                _fail(batch, error)
            except BaseException:
                _cancel([*batch, *self._waiting])
                raise

    async def _linger(self) -> None:
        """Wait for the deliveries that will be settled soon: larger batches need fewer commits."""
        await asyncio.sleep(0)  # for tasks that are about to request a write
        if not self._is_complete():
            self._complete.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._complete.wait()

    def _is_complete(self) -> bool:
        """Return whether every delivery in `sending` has requested its next write."""
        return self._sending <= {request.claim for request in self._waiting}

    def _next_batch(self) -> Batch:
        """Take the requests that can be written now, at most one for each row, from those that wait.

        The last place in `sending` is reserved for resets.
        """
        sending, rows = len(self._sending), set()
        batch: list[WriteRequest] = []
        later: list[WriteRequest] = []
        order = sorted(self._waiting, key=lambda one: (one.settlement is None, one.claim.priority))
        for request in order:
            claim, is_mark = request.claim, request.settlement is None
            limit = self._most_sending - (claim.priority != Priority.RESET and self._most_sending > 1)
            if claim.id in rows or (is_mark and sending >= limit):
                later.append(request)
                continue
            rows.add(claim.id)
            batch.append(request)
            if is_mark:
                sending += 1
            elif claim.is_sending:
                sending -= 1
        self._waiting = later
        return batch

    async def _write_batch(self, batch: Batch) -> None:
        """Write a batch; if the database refuses it, write each request alone."""
        try:
            await self._commit(batch)
        except DBAPIError:
            if len(batch) == 1:
                raise
            for request in batch:
                try:
                    await self._commit([request])
                except DBAPIError as error:
                    _fail([request], error)

    async def _commit(self, batch: Batch) -> None:
        """Write a batch in one transaction, then resolve its futures."""
        async with self.lock, self._outbox.database.transaction() as connection:
            now = self._outbox.clock()  # read after waiting for the connection and its lock
            owned = await claims.still_owned(connection, [r.claim for r in batch], now=now)
            ours = [request for request in batch if request.claim in owned]
            settled = [(r.claim, r.settlement) for r in ours if r.settlement is not None]
            await transitions.settle(connection, settled, now=now)
            marking = [request.claim for request in ours if request.settlement is None]
            marked = await transitions.mark_sending(connection, marking, now=now)
        self.commits += 1
        for request in batch:
            is_written = request.claim in (marked if request.settlement is None else owned)
            if request.settlement is not None:
                self._sending.discard(request.claim)
            elif is_written:
                request.claim.is_sending = True
                self._sending.add(request.claim)
            if not request.written.done():
                request.written.set_result(is_written)


def _fail(batch: Batch, error: Exception) -> None:
    for request in batch:
        if not request.written.done():
            request.written.set_exception(error)


def _cancel(batch: Batch) -> None:
    for request in batch:
        request.written.cancel()


async def keep_leases(outbox: Outbox, writer: BatchWriter, owned: Mapping[asyncio.Task[None], Claim]) -> None:
    """Renew the leases of the `owned` claims until none is left; cancel the deliveries of lost claims.

    After an error the leases keep running, so a claim is lost only when its lease has ended.
    """
    while owned:
        await asyncio.sleep(outbox.renew)
        claims_now = list(owned.values())
        try:
            lost = await writer.renew(claims_now, outbox.lease)
        except Exception as error:
            if not isinstance(error, DatabaseUnavailable | DBAPIError):
                _log.exception("Unexpected error while renewing leases; continuing")
            lost = [claim for claim in claims_now if claim.lease_end <= outbox.clock()]
        for task, claim in owned.items():
            if claim in lost:
                claim.is_lost = True
                task.cancel()
