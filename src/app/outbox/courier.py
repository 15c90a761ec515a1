"""The courier claims due mail and delivers it over a bounded number of connections.

`run` delivers until stopped; `drain` delivers what is due and returns. Each of them owns its claims and
renews their leases, so that they can run at the same time; connections and the capacity of `sending` are
shared.
"""

import asyncio
import logging
import math
import time
from contextlib import suppress

from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated
from app.logs import OngoingProblem
from app.outbox.claims import Claim, claim_due
from app.outbox.delivery import Deliverer
from app.outbox.maintenance import Maintenance
from app.outbox.policy import Capacity, ClaimLimit
from app.outbox.queries import next_times
from app.outbox.state import Outbox
from app.outbox.writer import keep_leases

_log = logging.getLogger(__name__)
AFTER_CANCEL_SECONDS = 2.0
"""How long cancelled deliveries may take to write that they were released."""


class DatabaseProblem(OngoingProblem):
    """Logs when the outbox cannot be read, and when it can be read again."""

    def __init__(self) -> None:
        super().__init__(_log, "Cannot read the outbox: %s", "The outbox can be read again")

    def record(self, error: DatabaseUnavailable | DBAPIError) -> None:
        """Log what `error` means for an operator, once."""
        if isinstance(error, DatabaseUnavailable):
            self.start(str(error) or type(error).__name__)
        else:
            self.start(NOT_MIGRATED if is_schema_outdated(error) else type(error).__name__)


class Courier:
    """Delivers the mail of one process."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.capacity = Capacity(outbox.connections)
        self.deliverer = Deliverer(outbox, self.capacity)
        self.breaker = self.deliverer.breaker
        self.maintenance = Maintenance(outbox)
        self.claimers: set[Claimer] = set()

    async def run(self) -> None:
        """Deliver until `stop`, through database outages; purge regularly."""
        claimer = Claimer(self)
        problem = DatabaseProblem()
        while not claimer.is_stopping:
            self.outbox.wake_event.clear()
            try:
                rest = await claimer.claim_next()
                if not claimer.is_behind and await self.maintenance.purge():
                    rest = 0.0
                problem.end()
            except (DatabaseUnavailable, DBAPIError) as error:
                problem.record(error)
                rest = self.outbox.poll
            except Exception:
                _log.exception("Unexpected error in the mail courier; continuing")
                rest = self.outbox.poll
            if self.breaker.is_open:
                rest = min(rest, self.breaker.remaining() or rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self.outbox.wake_event.wait()
        await claimer.close()

    async def drain(self, *, seconds: float | None = None, is_periodic: bool = False) -> None:
        """Deliver all mail that is due and return; claim for no longer than `seconds`.

        A mail server that was down is tried at once. `is_periodic`: this is one of many calls, so it is tried
        when its next probe is due, and old mails are purged. Raises DatabaseUnavailable.
        """
        until = math.inf if seconds is None else time.monotonic() + seconds
        if not is_periodic:
            self.breaker.close()
        claimer = Claimer(self)
        try:
            await claimer.deliver_all(until)
            if is_periodic:
                await self.maintenance.purge()
        finally:  # the caller may stop the event loop, and with it the renewal of leases
            await claimer.close()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, let current deliveries end within `grace` seconds, and release the rest."""
        until = time.monotonic() + grace
        claimers = list(self.claimers)
        is_first = any(not claimer.is_stopping for claimer in claimers)
        if is_first:
            _log.info("Mail courier stopping; deliveries in progress: %d", self._count(claimers))
        for claimer in claimers:
            claimer.begin_stop()
        self.outbox.wake()
        await asyncio.gather(*(claimer.wait(until) for claimer in claimers))
        if is_first and (count := self._count(claimers)):
            _log.warning("Grace period over; unfinished deliveries: %d", count)
        await asyncio.gather(*(claimer.cancel() for claimer in claimers))

    @staticmethod
    def _count(claimers: "list[Claimer]") -> int:
        return sum(len(claimer.claims) for claimer in claimers)


class Claimer:
    """Claims rows for `run` or one `drain`, starts their deliveries and renews their leases."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier
        self._outbox = courier.outbox
        self._breaker = courier.breaker
        self._capacity = courier.capacity
        self._renewer: asyncio.Task[None] | None = None
        self._is_claiming = asyncio.Lock()
        self.claims: dict[asyncio.Task[None], Claim] = {}
        self.is_behind = False
        self.is_stopping = False
        courier.claimers.add(self)

    async def claim_next(self) -> float:
        """Start as many deliveries as there is capacity for; return the seconds until the next claim."""
        limit = self._limit()
        if not limit.total:
            return self._outbox.poll
        if not self.is_behind:
            rest = await self._seconds_until_due()
            if rest:
                return rest
        count = await self._claim(limit)
        self.is_behind = count >= max(1, limit.bulk)
        return self._outbox.poll

    async def deliver_all(self, until: float) -> None:
        """Deliver what is due; claim nothing more after `until` by `time.monotonic`."""
        while True:
            in_time = not self.is_stopping and time.monotonic() < until
            if in_time:
                await self.claim_next()
            if self.claims:
                await self._wait_for_capacity()
            elif self._breaker.is_open or not in_time or await self._seconds_until_due():
                break

    def begin_stop(self) -> None:
        """Claim nothing more, and release what has not begun DATA."""
        self.is_stopping = True
        for claim in self.claims.values():
            claim.is_stopping = True

    async def wait(self, until: float) -> None:
        """Wait for the deliveries to end, until `until` by `time.monotonic`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(AFTER_CANCEL_SECONDS, until - time.monotonic())):
                async with self._is_claiming:  # rows being claimed now are released too
                    pass
        if self.claims:
            await asyncio.wait(self.claims, timeout=max(0.0, until - time.monotonic()))

    async def cancel(self) -> None:
        """Cancel the deliveries, which then release their rows."""
        for _ in range(2):
            if self.claims:
                for task in self.claims:
                    task.cancel()
                await asyncio.wait(self.claims, timeout=AFTER_CANCEL_SECONDS)
        if self._renewer is not None and not self.claims:
            self._renewer.cancel()
            await asyncio.wait([self._renewer])

    async def close(self) -> None:
        """Wait for all deliveries, and end the renewal of their leases."""
        while self.claims:
            await asyncio.wait(self.claims)
        await self.cancel()
        self._courier.claimers.discard(self)

    async def _seconds_until_due(self) -> float:
        """Expire mails; return the seconds until one is due, at most the poll interval."""
        now = self._outbox.clock()
        maintenance = self._courier.maintenance
        due_at, last_due_at, expires_at = await next_times(self._outbox.database)
        if expires_at is not None and expires_at <= now:
            await maintenance.expire()
        if await maintenance.repair_clock_skew(last_due_at, now):
            return 0.0
        if due_at is None:
            return self._outbox.poll
        return min(self._outbox.poll, max(0.0, (due_at - now).total_seconds()))

    def _limit(self) -> ClaimLimit:
        if self.is_stopping:
            return ClaimLimit(0, 0)
        if not self._breaker.is_open:
            return self._capacity.free([claim.priority for claim in self.claims.values()])
        is_probing = any(
            claim.is_probe for claimer in self._courier.claimers for claim in claimer.claims.values()
        )
        return ClaimLimit(0, 0) if is_probing or self._breaker.remaining() else ClaimLimit(1, 1)

    async def _claim(self, limit: ClaimLimit) -> int:
        """Claim rows in a transaction of their own and start their deliveries; return how many."""
        deliverer, is_probe = self._courier.deliverer, self._breaker.is_open
        async with self._is_claiming:
            if self.is_stopping:
                return 0
            async with deliverer.writer.lock, self._outbox.database.transaction() as connection:
                now = self._outbox.clock()  # read after waiting for the connection and its lock
                claims = await claim_due(connection, limit, now=now, lease=self._outbox.lease)
            for claim in claims:
                claim.is_probe = is_probe
                claim.is_stopping = self.is_stopping
                task = asyncio.create_task(deliverer.run(claim), name=f"mail {claim.id}")
                task.add_done_callback(self._finish)
                self.claims[task] = claim
            if claims and (self._renewer is None or self._renewer.done()):
                renewing = keep_leases(self._outbox, deliverer.writer, self.claims)
                self._renewer = asyncio.create_task(renewing, name="outbox leases")
        return len(claims)

    def _finish(self, task: asyncio.Task[None]) -> None:
        claim = self.claims.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Unexpected error while delivering mail %d", claim.id, exc_info=error)
        if self._capacity.is_low(len(self.claims)):
            self._outbox.wake()

    async def _wait_for_capacity(self) -> None:
        """Wait until it is time to claim more, or to look for more urgent mail."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._outbox.poll):
                await asyncio.wait(self.claims, return_when=asyncio.FIRST_COMPLETED)
                while self.claims and not self._capacity.is_low(len(self.claims)):
                    await asyncio.wait(self.claims, return_when=asyncio.FIRST_COMPLETED)
