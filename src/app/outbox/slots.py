"""What deliveries share, a part of it kept for resets: claims, places in `sending`, and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.outbox.claim import Claim, Room
from app.outbox.models import Priority

SENDING_PER_CONNECTION = 2
CLAIMS_PER_CONNECTION = 6


class Gate:
    """At most `size` inside at once, of which at most `size - 1` are no resets (but one at least)."""

    def __init__(self, size: int) -> None:
        self._all = asyncio.Semaphore(size)
        self._bulk = asyncio.Semaphore(max(1, size - 1))

    @asynccontextmanager
    async def inside(self, priority: int) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        if priority == Priority.RESET:
            async with self._all:
                yield
        else:
            async with self._bulk, self._all:
                yield


class Slots:
    """The shares of a courier with `connections`: enough claims that no connection ever stands idle."""

    def __init__(self, connections: int) -> None:
        self.connections = Gate(connections)
        self.sending = SENDING_PER_CONNECTION * connections
        self.claims = CLAIMS_PER_CONNECTION * connections

    def room(self, held: list[Claim]) -> Room:
        """Return how many more rows may be claimed."""
        total = self.claims - len(held)
        bulk = self.claims - 1 - sum(claim.priority != Priority.RESET for claim in held)
        return Room(max(0, total), max(0, min(total, bulk)))

    def wants_more(self, held: int) -> bool:
        """Return whether it is time to claim more: many at once, and before there are none to send."""
        return held <= self.claims - self.sending
