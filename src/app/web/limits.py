"""Limits on how often somebody may ask, by the library `limits`, in memory or shared in Redis."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.storage import storage_from_string
from quart import Quart, current_app, request
from werkzeug.exceptions import TooManyRequests

from app.told import Told
from app.web import events
from app.web.counters import Counters

IPV6_SUBSCRIBER_BITS = 64
LONGEST_WAIT_SECONDS = 1.0
"""How long Redis may take for one count; then this process counts by itself."""
APART_SECONDS = 10.0
"""How long it does so before it asks Redis again: every visitor would wait for a mute one."""

Limit = tuple[str, str]
"""A rule and the key it is counted for, such as ("10 per 5 minutes", "login:susan")."""

T = TypeVar("T")
Question = Callable[[MovingWindowRateLimiter, str, str], Awaitable[T]]

log = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Give `app` its counters, kept where RATELIMIT_STORAGE_URI says."""
    limiter = Limiter(app.config["RATELIMIT_STORAGE_URI"])
    app.extensions["limits"] = limiter

    @app.after_serving
    async def close() -> None:
        await limiter.close()


class Limiter:
    """Counters in this process, or in Redis as long as it answers."""

    def __init__(self, address: str) -> None:
        self.own = MovingWindowRateLimiter(Counters())
        self.shared: MovingWindowRateLimiter | None = None
        self.apart_until = -math.inf
        self.trouble = Told(
            log,
            "limits are counted in this process only, for RATELIMIT_STORAGE_URI gives no answer: %s",
            "limits are shared by RATELIMIT_STORAGE_URI again",
        )
        self.bridge: Any = None
        self.faults: tuple[type[Exception], ...] = (OSError, TimeoutError)
        if address != "memory":
            storage = storage_from_string(
                f"async+{address.removeprefix('async+')}", implementation="redispy"
            )
            assert isinstance(storage, RedisStorage)  # noqa: S101 -- for the type checker
            self.bridge = storage.bridge
            self.shared = MovingWindowRateLimiter(storage)
            faults = storage.base_exceptions
            self.faults += (faults,) if isinstance(faults, type) else faults

    async def hit(self, rule: str, key: str) -> int:
        """Count one against `rule` and `key`; return 0, or after how many seconds to come back."""
        return await self._ask(_hit, rule, key)

    async def clear(self, rule: str, key: str) -> None:
        """Forget what was counted against `rule` and `key`."""
        await self._ask(_clear, rule, key)

    async def _ask(self, question: Question[T], rule: str, key: str) -> T:
        if self.shared is not None and time.monotonic() >= self.apart_until:
            try:
                async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                    answer = await question(self.shared, rule, key)
            except self.faults as error:
                self.apart_until = time.monotonic() + APART_SECONDS
                self.trouble.met(type(error).__name__)
            else:
                self.trouble.gone()
                return answer
        return await question(self.own, rule, key)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self.bridge is not None:
            await self.bridge.storage.aclose()


async def _hit(limiter: MovingWindowRateLimiter, rule: str, key: str) -> int:
    item = parse(rule)
    if await limiter.hit(item, key):
        return 0
    window = await limiter.get_window_stats(item, key)
    return max(1, math.ceil(window.reset_time - time.time()))


async def _clear(limiter: MovingWindowRateLimiter, rule: str, key: str) -> None:
    await limiter.clear(parse(rule), key)


async def count(*limits: Limit) -> None:
    """Count this request against each of `limits`.

    Raises TooManyRequests, saying when to come back, at the first limit that is exceeded.
    """
    for rule, key in limits:
        seconds = await hit(rule, key)
        if seconds:
            raise TooManyRequests(retry_after=seconds)


async def clear(*limits: Limit) -> None:
    """Forget what was counted against each of `limits`."""
    limiter: Limiter = current_app.extensions["limits"]
    if current_app.config["RATELIMIT_ENABLED"]:
        for rule, key in limits:
            await limiter.clear(rule, key)


async def hit(rule: str, key: str) -> int:
    """Count this request against `rule` and `key`; return 0, or after how many seconds to come back.

    Logs that the limit is exceeded, so that callers need not.
    """
    if not current_app.config["RATELIMIT_ENABLED"]:
        return 0
    limiter: Limiter = current_app.extensions["limits"]
    seconds = await limiter.hit(rule, key)
    if seconds:
        events.log_event("limited", limit=key.partition(":")[0], rule=rule)
    return seconds


def peer() -> str:
    """Return who asks: the peer's address, of IPv6 the /64 that one subscriber has."""
    address = request.remote_addr or "unknown"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_SUBSCRIBER_BITS), strict=False))
    return str(parsed)
