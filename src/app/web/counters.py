"""Counters of requests in this process's memory, for the library `limits`.

Its own async memory storage starts a thread per key at every request to sweep them (`asyncio.to_thread`, in
version 5.8). Here what is over goes as others are counted, and the number of keys is bounded.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque

from limits.aio.storage import MovingWindowSupport, Storage

MOST_KEYS = 200_000
"""Keys kept per length of window (some 100 MB); beyond it those asked for least lately go."""

SWEPT_PER_HIT = 2


class Counters(Storage, MovingWindowSupport):
    """Moving windows: the times of the hits of each key, by the length of their window in seconds."""

    STORAGE_SCHEME = ["async+microblog"]  # noqa: RUF012 -- declared so by the base

    def __init__(self) -> None:
        super().__init__()
        self.windows: dict[int, OrderedDict[str, deque[float]]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """What can go wrong: nothing."""
        return NotImplementedError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count `amount` hits of `key`, unless that makes more than `limit` in `expiry` seconds."""
        now = time.time()
        window = self.windows.setdefault(expiry, OrderedDict())
        self._sweep(window, now - expiry)
        times = window.setdefault(key, deque())
        window.move_to_end(key)
        while times and times[0] < now - expiry:
            times.popleft()
        if len(times) + amount > limit:
            return False
        times.extend([now] * amount)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest hit of `key` that counts, or now, and how many count."""
        now = time.time()
        hits = self.windows.get(expiry, OrderedDict()).get(key, deque())
        times = [hit for hit in hits if hit >= now - expiry]
        return (times[0] if times else now, len(times))

    async def reset(self) -> int:
        """Forget everything, and return how many keys there were."""
        count = sum(map(len, self.windows.values()))
        self.windows.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forget `key`."""
        for window in self.windows.values():
            window.pop(key, None)

    async def check(self) -> bool:
        """Return whether the counters can be used: always."""
        return True

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Refuse: here are moving windows only."""
        raise NotImplementedError

    async def get(self, key: str) -> int:
        """Refuse: here are moving windows only."""
        raise NotImplementedError

    async def get_expiry(self, key: str) -> float:
        """Refuse: here are moving windows only."""
        raise NotImplementedError

    @staticmethod
    def _sweep(window: OrderedDict[str, deque[float]], start: float) -> None:
        """Drop some keys whose last hit was before `start`, and any beyond MOST_KEYS."""
        for _ in range(SWEPT_PER_HIT):
            oldest = next(iter(window.values()), None)
            if oldest is None or not (len(window) >= MOST_KEYS or not oldest or oldest[-1] < start):
                return
            window.popitem(last=False)
