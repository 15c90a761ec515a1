"""The connections that deliveries share, one of them kept for resets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.outbox.claim import Claim, Room
from app.outbox.models import Priority


class Slots:
    """At most `size` deliveries at once, of which at most `size - 1` are no resets (but one at least)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.bulk = max(1, size - 1)
        self._all = asyncio.Semaphore(size)
        self._bulk = asyncio.Semaphore(self.bulk)

    @asynccontextmanager
    async def slot(self, priority: int) -> AsyncIterator[None]:
        """Wait for a slot and hold it."""
        if priority == Priority.RESET:
            async with self._all:
                yield
        else:
            async with self._bulk, self._all:
                yield

    def room(self, held: list[Claim]) -> Room:
        """Return how many more rows may be claimed: twice as many as slots, so that none stands idle."""
        total = 2 * self.size - len(held)
        bulk = 2 * self.size - 1 - sum(claim.priority != Priority.RESET for claim in held)
        return Room(max(0, total), max(0, min(total, bulk)))
