"""Limits on how often somebody may ask, by the library `limits`, in memory or shared in Redis."""

from __future__ import annotations

import ipaddress
import math
import time

from limits import RateLimitItem, parse
from limits.aio.strategies import MovingWindowRateLimiter
from limits.storage import storage_from_string
from quart import Quart, current_app, request
from werkzeug.exceptions import TooManyRequests

from app.web import events
from app.web.counters import ThreadlessMemoryStorage

IPV6_SUBSCRIBER_BITS = 64


def init_app(app: Quart) -> None:
    """Give `app` its counters, kept where RATELIMIT_STORAGE_URI says."""
    address = app.config["RATELIMIT_STORAGE_URI"]
    storage = (
        ThreadlessMemoryStorage()
        if address == "memory"
        else storage_from_string(f"async+{address.removeprefix('async+')}")
    )
    app.extensions["limits"] = MovingWindowRateLimiter(storage)


async def count(*limits: tuple[str, str]) -> None:
    """Count this request against each `(limit, key)`, such as ("10 per 5 minutes", "login:susan").

    Raises TooManyRequests, saying when to come back, at the first limit that is exceeded.
    """
    if not current_app.config["RATELIMIT_ENABLED"]:
        return
    limiter: MovingWindowRateLimiter = current_app.extensions["limits"]
    for rule, key in limits:
        item = parse(rule)
        if not await limiter.hit(item, key):
            events.log_event("limited", limit=key.partition(":")[0], rule=rule)
            raise TooManyRequests(retry_after=await _seconds_left(limiter, item, key))


async def _seconds_left(limiter: MovingWindowRateLimiter, item: RateLimitItem, key: str) -> int:
    window = await limiter.get_window_stats(item, key)
    return max(1, math.ceil(window.reset_time - time.time()))


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
