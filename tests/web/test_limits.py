"""Rate limits: counters in memory and in Redis, whether it is up or down, and what pages say."""

from __future__ import annotations

import asyncio
import threading

import pytest
from quart import Quart

from app.posts.models import Post
from app.web.limits import Limiter, MemoryCounters
from tests.database_servers import RedisServer
from tests.factories import count, logged_in, make_user

RULE = "3 per 5 minutes"


async def test_the_window_moves() -> None:
    now = [1000.0]
    limiter = MemoryCounters(clock=lambda: now[0])
    for minute in (0, 1, 2):
        now[0] = 1000 + 60 * minute
        assert await limiter.hit(RULE, "k") == 0
    now[0] = 1000 + 299
    assert await limiter.hit(RULE, "k") == 1
    assert await limiter.hit(RULE, "other") == 0
    now[0] = 1000 + 301
    assert await limiter.hit(RULE, "k") == 0
    assert await limiter.hit(RULE, "k") == 59


async def test_a_cleared_key_is_counted_from_zero() -> None:
    limiter = Limiter("memory")
    hits = [await limiter.hit(RULE, "k") for _ in range(4)]
    assert hits[3] > 0
    await limiter.clear(RULE, "k")
    assert await limiter.hit(RULE, "k") == 0


async def test_counting_starts_no_thread() -> None:
    limiter, before = Limiter("memory"), threading.active_count()
    for number in range(200):
        await limiter.hit(RULE, f"k{number % 20}")
    assert threading.active_count() == before


async def test_expired_keys_are_removed_and_the_number_of_keys_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("app.web.limits.MAX_KEYS", 50)
    counters = MemoryCounters(clock=lambda: now[0])
    for number in range(200):
        await counters.hit("3 per minute", f"k{number}")
    assert len(counters.windows[60]) == 50
    now[0] += 61
    for _ in range(50):
        await counters.hit("1000 per minute", "last")
    assert [key for _, key in counters.windows[60]] == ["last"]


async def test_processes_share_their_counts_in_redis(redis: RedisServer) -> None:
    workers = [Limiter(f"redis+unix://{redis.socket}") for _ in range(2)]
    hits = [await workers[n % 2].hit(RULE, "k") for n in range(5)]
    assert hits[:3] == [0, 0, 0]
    assert all(290 < seconds <= 300 for seconds in hits[3:])
    await workers[0].clear(RULE, "k")
    assert await workers[1].hit(RULE, "k") == 0
    for worker in workers:
        await worker.close()


async def test_without_redis_each_process_counts_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    limiter = Limiter("redis://127.0.0.1:1")
    hits = [await limiter.hit(RULE, "k") for _ in range(4)]
    assert hits[:3] == [0, 0, 0]
    assert hits[3] > 0
    await limiter.close()
    assert "rate limits are counted in this process only" in caplog.text


async def test_a_silent_redis_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.web.limits.REDIS_TIMEOUT", 0.05)
    connections = 0

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        limiter = Limiter(f"redis://127.0.0.1:{port}")
        hits = [await limiter.hit(RULE, "k") for _ in range(4)]
        await limiter.close()
    assert hits[:3] == [0, 0, 0]
    assert hits[3] > 0
    assert connections == 1
    assert caplog.text.count("rate limits are counted in this process only") == 1


async def test_redis_is_used_again_when_it_is_back(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.limits.REDIS_RETRY_INTERVAL", 0.0)
    limiter = Limiter(f"redis+unix://{redis.socket}")
    other = Limiter(f"redis+unix://{redis.socket}")
    await redis.stop()
    assert await limiter.hit(RULE, "back") == 0
    await redis.start()
    hits = [await each.hit(RULE, "back") for each in (limiter, other) for _ in range(2)]
    assert hits[:3] == [0, 0, 0]
    assert hits[3] > 0
    for each in (limiter, other):
        await each.close()


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_posting_has_a_limit_per_account_and_keeps_what_was_typed(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    app.config["RATELIMIT_ENABLED"] = True
    token = (await susan.get("/index")).token
    for _ in range(3):
        assert (await susan.post("/index", post="", csrf_token=token)).status == 200
    pages = await asyncio.gather(
        *(susan.post("/index", post=f"post {n}", csrf_token=token) for n in range(40))
    )
    assert sorted(page.status for page in pages) == [302] * 30 + [429] * 10
    page = await susan.post("/index", post="worth <keeping>", csrf_token=token)
    assert 290 <= int(page.response.headers["Retry-After"]) <= 300
    assert "You are posting too fast. Please try again in 5 minutes." in page.text
    assert "worth &lt;keeping&gt;</textarea>" in page.text
    assert await count(Post) == 30
    david, _ = await logged_in(app, "david")
    assert (await david.submit("/index", post="my first")).status == 302


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_account_may_change_its_name_five_times_a_day(app: Quart) -> None:
    await make_user("david")
    susan, _ = await logged_in(app, "susan")
    app.config["RATELIMIT_ENABLED"] = True
    for _ in range(6):
        assert (await susan.submit("/edit_profile", username="david", about_me="")).status == 200
        page = await susan.submit("/edit_profile", username="susan", about_me="same name")
        assert page.status == 302
    for number in range(5):
        page = await susan.submit("/edit_profile", username=f"susan{number}", about_me="")
        assert page.status == 302
    page = await susan.submit("/edit_profile", username="sixth", about_me="worth keeping")
    assert page.status == 429
    assert 86000 < int(page.response.headers["Retry-After"]) <= 86400
    assert "You have changed your name too often. Please try again in 24 hours." in page.text
    assert 'value="sixth"' in page.text
    assert "worth keeping</textarea>" in page.text
    assert (await susan.get("/user/sixth")).status == 404
    page = await susan.submit("/edit_profile", username="susan4", about_me="still possible")
    assert page.status == 302


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_following_and_profiles_have_limits_per_account(app: Quart) -> None:
    await make_user("david")
    susan, _ = await logged_in(app, "susan", language="es")
    app.config["RATELIMIT_ENABLED"] = True
    token = (await susan.get("/user/david")).token
    statuses = []
    for verb in ("follow", "unfollow"):
        pages = await asyncio.gather(*(susan.post(f"/{verb}/david", csrf_token=token) for _ in range(51)))
        statuses += [page.status for page in pages]
    assert sorted(statuses) == [302] * 100 + [429] * 2
    page = await susan.post("/follow/david", csrf_token=token)
    assert 0 < int(page.response.headers["Retry-After"]) <= 300
    assert "Demasiados intentos. Vuelve a intentarlo dentro de " in page.text
    profile = {"username": "susan", "about_me": "hi", "csrf_token": token}
    pages = await asyncio.gather(*(susan.post("/edit_profile", **profile) for _ in range(31)))
    assert sorted(page.status for page in pages) == [302] * 30 + [429]
    assert "hi</textarea>" in next(page.text for page in pages if page.status == 429)
