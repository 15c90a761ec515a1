"""Limits on requests: counted by peer, said in words, and kept in bounded memory without a thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter
from quart import Quart

from app.web.counters import Counters
from app.web.limits import peer
from tests.visitor import Visitor


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"RATELIMIT_ENABLED": True}


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_eleventh_login_is_answered_with_429_and_when_to_come_back(app: Quart) -> None:
    visitor = Visitor(app)
    for _ in range(10):
        assert (await visitor.log_in("susan", "wrong horse")).status == 200
    page = await visitor.log_in("SUSAN", "wrong horse")
    assert page.status == 429
    assert 0 < int(page.response.headers["Retry-After"]) <= 300
    assert "Too Many Requests" in page.text
    assert (await visitor.log_in("tom", "wrong horse")).status == 200


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("<local>", "<local>"),
    ],
)
async def test_a_peer_is_an_address_or_the_network_of_a_subscriber(
    app: Quart, address: str, key: str
) -> None:
    async with app.test_request_context("/", headers={"Remote-Addr": address}):
        assert peer() == key


async def test_counters_that_are_over_go_as_others_are_counted_and_no_thread_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counters = Counters()
    limiter = MovingWindowRateLimiter(counters)
    rule = parse("1 per 5 minutes")
    before = threading.active_count()
    for number in range(1000):
        assert await limiter.hit(rule, f"peer {number}")
    assert not await limiter.hit(rule, "peer 7")
    later = time.time() + 301
    monkeypatch.setattr("app.web.counters.time.time", lambda: later)
    for number in range(600):
        assert await limiter.hit(rule, f"later peer {number}")
    assert {len(window) for window in counters.windows.values()} == {600}
    assert threading.active_count() == before
