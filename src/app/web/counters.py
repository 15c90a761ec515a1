"""Where limits are counted when RATELIMIT_STORAGE_URI is "memory"."""

from __future__ import annotations

import time

from limits.aio.storage import MemoryStorage

SWEEP_SECONDS = 60


class ThreadlessMemoryStorage(MemoryStorage):
    """The library's counters in memory, swept once a minute on the loop.

    limits 5.8 sweeps all keys at every hit, and in a thread: a crowd of peers would slow every login.
    """

    STORAGE_SCHEME = ["async+threadless"]  # noqa: RUF012 -- the library registers storages by it

    sweep_at = 0.0

    async def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802 -- the library's private name
        if time.monotonic() >= self.sweep_at:
            self.sweep_at = time.monotonic() + SWEEP_SECONDS
            self.sweep()

    def sweep(self) -> None:
        """Forget every key whose last hit has expired."""
        now = time.time()
        over = [key for key, hits in self.events.items() if not hits or hits[0].expiry <= now]
        over += [key for key, expiry in self.expirations.items() if expiry <= now]
        for key in over:
            if not self.locks[key].locked():
                self.events.pop(key, None)
                self.storage.pop(key, None)
                self.expirations.pop(key, None)
                self.locks.pop(key, None)
