"""Rate limits: moving windows in this process, or shared in Redis through the library `limits`."""

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.storage import storage_from_string
from quart import Quart, current_app

from app.logs import OngoingProblem
from app.web.languages import ngettext
from app.web.request_log import log_event

REDIS_TIMEOUT = 1.0  # seconds; after that this process counts by itself
REDIS_RETRY_INTERVAL = 10.0  # seconds; trying Redis again at once would make every visitor wait
MAX_KEYS = 200_000  # in memory, for each length of window (some 100 MB); the least recently used are dropped
SWEPT_PER_HIT = 2
UNIT_SHOWN_BELOW = 100

Limit = tuple[str, str]
"""A rule and the key it is counted for, such as ("10 per 5 minutes", "login:susan")."""

T = TypeVar("T")

log = logging.getLogger(__name__)
_parse = lru_cache(parse)


def init_app(app: Quart) -> None:
    """Give `app` its counters, stored where RATELIMIT_STORAGE_URI says."""
    limiter = Limiter(app.config["RATELIMIT_STORAGE_URI"])
    app.extensions["limits"] = limiter

    @app.after_serving
    async def close() -> None:
        await limiter.close()


async def count(rule: str, key: str) -> int:
    """Count this request against a limit; return 0, or the seconds to wait and log that it is exceeded."""
    if not current_app.config["RATELIMIT_ENABLED"]:
        return 0
    limiter: Limiter = current_app.extensions["limits"]
    seconds = await limiter.hit(rule, key)
    if seconds:
        log_event("limited", limit=key.partition(":")[0], rule=rule)
    return seconds


def duration(seconds: int) -> str:
    """Return the time to wait in words: in seconds below 100 s, in minutes below 100 min, else in hours."""
    if seconds < UNIT_SHOWN_BELOW:
        # Translators: the time after which something is possible again, as in "try again in 5 seconds"
        return ngettext("%(num)s second", "%(num)s seconds", seconds)
    if seconds < 60 * UNIT_SHOWN_BELOW:
        # Translators: as in "try again in 5 minutes"
        return ngettext("%(num)s minute", "%(num)s minutes", math.ceil(seconds / 60))
    # Translators: as in "try again in 5 hours"
    return ngettext("%(num)s hour", "%(num)s hours", math.ceil(seconds / 3600))


async def clear(*limits: Limit) -> None:
    """Reset the counts of `limits`."""
    if not current_app.config["RATELIMIT_ENABLED"]:
        return
    limiter: Limiter = current_app.extensions["limits"]
    for rule, key in limits:
        await limiter.clear(rule, key)


class MemoryCounters:
    """Moving windows in memory: the times of the hits on each key, by length of window in seconds.

    The async memory storage of `limits` 5.8 starts a thread per key at every request to remove old entries
    (`asyncio.to_thread`). Here each hit removes a few, and the number of keys is bounded.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.windows: dict[int, OrderedDict[Limit, deque[float]]] = {}

    async def hit(self, rule: str, key: str) -> int:
        """Count a hit on `rule` and `key`; return 0, or how many seconds to wait."""
        item = _parse(rule)
        now, seconds = self.clock(), item.get_expiry()
        window = self.windows.setdefault(seconds, OrderedDict())
        _sweep(window, now - seconds)
        times = window.setdefault((rule, key), deque())
        window.move_to_end((rule, key))
        while times and times[0] < now - seconds:
            times.popleft()
        if len(times) >= item.amount:
            return max(1, math.ceil(times[0] + seconds - now))
        times.append(now)
        return 0

    async def clear(self, rule: str, key: str) -> None:
        """Reset the count for `rule` and `key`."""
        window = self.windows.get(_parse(rule).get_expiry())
        if window is not None:
            window.pop((rule, key), None)


class RedisCounters:
    """Moving windows in Redis, shared by all processes."""

    def __init__(self, uri: str) -> None:
        address = f"async+{uri.removeprefix('async+')}"
        storage = storage_from_string(address, implementation="redispy")
        assert isinstance(storage, RedisStorage)  # noqa: S101 -- for the type checker
        errors = storage.base_exceptions
        self.errors: tuple[type[Exception], ...] = (OSError, TimeoutError)
        self.errors += (errors,) if isinstance(errors, type) else errors
        self._bridge: Any = storage.bridge
        self._limiter = MovingWindowRateLimiter(storage)

    async def hit(self, rule: str, key: str) -> int:
        """Count a hit on `rule` and `key`; return 0, or how many seconds to wait."""
        item = _parse(rule)
        if await self._limiter.hit(item, key):
            return 0
        window = await self._limiter.get_window_stats(item, key)
        return max(1, math.ceil(window.reset_time - time.time()))

    async def clear(self, rule: str, key: str) -> None:
        """Reset the count for `rule` and `key`."""
        await self._limiter.clear(_parse(rule), key)

    async def close(self) -> None:
        """Close the connections."""
        await self._bridge.storage.aclose()


class Limiter:
    """Counts in Redis while it answers, otherwise in this process's memory."""

    def __init__(self, uri: str) -> None:
        self.memory = MemoryCounters()
        self.redis = None if uri == "memory" else RedisCounters(uri)
        self.retry_redis_at = -math.inf
        self.problem = OngoingProblem(
            log,
            "Redis (RATELIMIT_STORAGE_URI) does not answer: %s; rate limits are counted in this process only",
            "Redis answers again; rate limits are shared",
        )

    async def hit(self, rule: str, key: str) -> int:
        """Count a hit on `rule` and `key`; return 0, or how many seconds to wait."""
        return await self._run(lambda counters: counters.hit(rule, key))

    async def clear(self, rule: str, key: str) -> None:
        """Reset the count for `rule` and `key`."""
        await self._run(lambda counters: counters.clear(rule, key))

    async def _run(self, operation: Callable[[MemoryCounters | RedisCounters], Awaitable[T]]) -> T:
        if self.redis is not None and time.monotonic() >= self.retry_redis_at:
            try:
                async with asyncio.timeout(REDIS_TIMEOUT):
                    result = await operation(self.redis)
            except self.redis.errors as error:
                self.retry_redis_at = time.monotonic() + REDIS_RETRY_INTERVAL
                self.problem.start(type(error).__name__)
            else:
                self.problem.end()
                return result
        return await operation(self.memory)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self.redis is not None:
            await self.redis.close()


def _sweep(window: OrderedDict[Limit, deque[float]], start: float) -> None:
    """Drop a few keys whose last hit was before `start`, and any beyond MAX_KEYS."""
    for _ in range(SWEPT_PER_HIT):
        oldest = next(iter(window.values()), None)
        if oldest is None or (len(window) < MAX_KEYS and oldest[-1] >= start):
            return
        window.popitem(last=False)
