"""The courier: claims what is due, delivers it over a bounded number of connections, and rests.

`run` delivers until told to stop; `drain` delivers what is due and returns.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from contextlib import suppress
from typing import Any

from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable
from app.outbox.agenda import count_due, look
from app.outbox.carrier import Carrier
from app.outbox.claim import Claim, Room
from app.outbox.leases import keep_leases
from app.outbox.slots import Slots
from app.outbox.state import Outbox
from app.outbox.tidy import Tidying
from app.outbox.trouble import Trouble

_log = logging.getLogger(__name__)
AFTER_CANCEL_SECONDS = 2.0
"""How long cancelled deliveries may take to write down that they were let go."""


class Courier:
    """One process's deliverer. The events it waits for are its outbox's."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self._slots = Slots(outbox.connections)
        self._carrier = Carrier(outbox, self._slots)
        self.pause = self._carrier.pause
        self.ledger = self._carrier.ledger
        self._held: dict[asyncio.Task[None], Claim] = {}
        self._renewer: asyncio.Task[None] | None = None
        self._is_behind = False
        self._running: asyncio.Task[Any] | None = None
        self._tidying = Tidying(outbox)
        self._trouble = Trouble()

    @property
    def held(self) -> list[Claim]:
        """The claims being delivered or settled."""
        return list(self._held.values())

    async def run(self) -> None:
        """Deliver until `stop`; trouble with the database is waited out. Purge now and then."""
        self._carrier.is_stopping = False
        self._running = asyncio.current_task()
        while not self._carrier.is_stopping:
            self.outbox.posted.clear()
            try:
                rest = await self._turn()
                if not self._is_behind and await self._tidying.purge():
                    rest = 0.0
                self._trouble.gone()
            except (DatabaseUnavailable, DBAPIError) as error:
                self._trouble.met(error)
                rest = self.outbox.poll
            except Exception:
                _log.exception("The courier stumbled and goes on")
                rest = self.outbox.poll
            await self._rest(rest)

    async def stop(self, grace: float) -> None:
        """Claim nothing more; let what is under way end within `grace` seconds; let go the rest."""
        until = time.monotonic() + grace
        is_first = not self._carrier.is_stopping
        self._carrier.is_stopping = True
        if is_first:
            _log.info("The courier stops; %d mails are under way", len(self._held))
        self.outbox.posted.set()
        if self._running is not None:  # it may be about to hold what it claims
            await asyncio.wait([self._running], timeout=max(grace, AFTER_CANCEL_SECONDS))
        if self._held:
            await asyncio.wait(self._held, timeout=max(0.0, until - time.monotonic()))
        if self._held and is_first:
            _log.warning("The grace is over; %d mails are let go", len(self._held))
        for _ in range(2):
            if self._held:
                for task in self._held:
                    task.cancel()
                await asyncio.wait(self._held, timeout=AFTER_CANCEL_SECONDS)
        await self._leave_nothing()

    async def _leave_nothing(self) -> None:
        """End the task that renews leases when nothing is held any more."""
        if self._renewer is not None and not self._held:
            self._renewer.cancel()
            await asyncio.wait([self._renewer])

    async def drain(self, *, seconds: float | None = None, is_patient: bool = False) -> None:
        """Deliver all that is due now and return; claim for no longer than `seconds`.

        Tries anew a mail server that was in trouble; if `is_patient`, no sooner than its next probe.
        """
        self._carrier.is_stopping = False
        until = math.inf if seconds is None else time.monotonic() + seconds
        if not is_patient:
            self.pause.lift()
        try:
            await self._deliver_all(until)
            if is_patient:
                await self._tidying.purge()
        finally:  # whoever calls this may let its loop stand still, and leases run out
            while self._held:
                await asyncio.wait(self._held)
            await self._leave_nothing()

    async def _deliver_all(self, until: float) -> None:
        """Deliver what is due; claim nothing more after `until` by `time.monotonic`."""
        while True:
            in_time = not self._carrier.is_stopping and time.monotonic() < until
            if in_time:
                await self._turn()
            if self._held:
                await self._until_there_is_room()
            elif self.pause or not in_time or not await self._is_anything_due():
                break

    async def _until_there_is_room(self) -> None:
        """Wait until it is time to claim more, or to look for what is more urgent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.outbox.poll):
                await asyncio.wait(self._held, return_when=asyncio.FIRST_COMPLETED)
                while self._held and not self._slots.wants_more(len(self._held)):
                    await asyncio.wait(self._held, return_when=asyncio.FIRST_COMPLETED)

    async def _is_anything_due(self) -> bool:
        return await count_due(self.outbox.database, now=self.outbox.clock(), most=1) > 0

    async def _turn(self) -> float:
        """Claim what there is room for and begin to deliver it; return how many seconds to rest."""
        room = self._room()
        if not room.total:
            return self.outbox.poll
        if not self._is_behind:
            rest = await self._look()
            if rest:
                return rest
        taken = await self._take(room)
        self._is_behind = len(taken) >= max(1, room.bulk)
        return self.outbox.poll

    async def _look(self) -> float:
        """Return how many seconds there is nothing due; let expire what is too late."""
        now = self.outbox.clock()
        due_at, last_due_at, expires_at = await look(self.outbox.database)
        if expires_at is not None and expires_at <= now:
            await self._tidying.expire()
        if self._tidying.is_beyond(last_due_at, now):
            await self._tidying.bring_back()
            return 0.0
        if due_at is None:
            return self.outbox.poll
        return min(self.outbox.poll, max(0.0, (due_at - now).total_seconds()))

    def _room(self) -> Room:
        if self._carrier.is_stopping:
            return Room(0, 0)
        if not self.pause:
            return self._slots.room(self.held)
        probing = any(claim.is_probe for claim in self.held)
        return Room(0, 0) if probing or self.pause.remaining() else Room(1, 1)

    async def _take(self, room: Room) -> list[Claim]:
        is_probe = bool(self.pause)
        taken = await self.ledger.take(room, self.outbox.lease)
        for claim in taken:
            claim.is_probe = is_probe
            task = asyncio.create_task(self._carrier.carry(claim), name=f"mail {claim.id}")
            self._held[task] = claim
            task.add_done_callback(self._put_down)
        if taken and (self._renewer is None or self._renewer.done()):
            self._renewer = asyncio.create_task(
                keep_leases(self.outbox, self.ledger, self._held), name="outbox leases"
            )
        return taken

    def _put_down(self, task: asyncio.Task[None]) -> None:
        claim = self._held.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("Mail %d stumbled and is left to its lease", claim.id, exc_info=error)
        if self._slots.wants_more(len(self._held)):
            self.outbox.posted.set()

    async def _rest(self, seconds: float) -> None:
        """Rest until woken, or `seconds` at most; a paused courier until its next probe."""
        if self.pause:
            seconds = min(seconds, self.pause.remaining() or seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.outbox.posted.wait()
