"""Leases are renewed during a delivery, whatever error a renewal raises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart

from tests.inspection import database_of, outbox_of
from tests.outbox.site import make_site, post, rows
from tests.smtp_server import SmtpServer, skip


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"OUTBOX_LEASE": 30, "OUTBOX_RENEW": 0.2}


async def lease_end() -> datetime:
    [due_at] = await rows("due_at")
    assert isinstance(due_at, datetime)
    return due_at


async def test_a_slow_reply_to_the_final_dot_does_not_double_the_mail(
    config: dict[str, Any], server: SmtpServer
) -> None:
    """The reply takes longer than the lease and OUTBOX_DEADLINE, while another courier looks for work."""
    first, other = (make_site(config | {"OUTBOX_DEADLINE": 60}) for _ in range(2))
    server.fail("dot", "hang", times=1)
    passed = timedelta()
    for site in (first, other):
        outbox_of(site).clock = lambda: datetime.now(UTC) + passed  # type: ignore[method-assign]
    async with first.app_context(), first.test_app(), other.test_app():
        handle = await post()
        await server.until(lambda: server.hung == 1)
        for _ in range(4):
            end = await lease_end()
            skip(20)
            passed += timedelta(seconds=20)
            while await lease_end() <= end:
                await asyncio.sleep(0.02)
        assert await rows("state") == ["sending"]
        server.release()
        assert await handle == "sent"
        assert await rows("in_doubt") == [False]
    assert list(server.arrivals.values()) == [1]


async def test_renewal_goes_on_after_an_unexpected_error(
    app: Quart, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fail("dot", "hang", times=1)
    handle = await post()
    database = database_of(app)
    failed = asyncio.Event()

    def broken(*args: Any) -> Any:
        failed.set()
        raise RuntimeError("unexpected")

    async with app.test_app(), asyncio.timeout(60):
        await server.until(lambda: server.hung == 1)
        with monkeypatch.context() as patch:
            patch.setattr(database, "transaction", broken)
            await failed.wait()
        end = await lease_end()
        while await lease_end() <= end:
            await asyncio.sleep(0.02)
        server.release()
        assert await handle == "sent"
    assert await rows("in_doubt") == [False]
