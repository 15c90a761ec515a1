"""A courier that stops, or whose drain is cancelled, leaves no claims and no deliveries behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart

from app import outbox
from app.database import DatabaseUnavailable
from app.outbox import claims
from app.outbox import courier as courier_module
from tests.inspection import courier_of, database_of
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer


async def test_mail_claimed_during_a_stop_is_released(
    app: Quart, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = asyncio.Event()
    claim_due = claims.claim_due

    async def slow(*args: Any, **kwargs: Any) -> Any:
        taking.set()
        await asyncio.sleep(0)
        return await claim_due(*args, **kwargs)

    monkeypatch.setattr(courier_module, "claim_due", slow)
    for number in range(20):
        await post(to=f"ann{number}@example.com")
    courier = courier_of(app)
    running = asyncio.create_task(courier.run())
    await taking.wait()
    await courier.stop(grace=5)
    async with asyncio.timeout(60):
        await running
    assert set(await rows("claim_id")) == {None}
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("mail ")]


async def test_a_drain_that_fails_finishes_its_deliveries(
    app: Quart, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop of a Celery worker stands still between tasks: no lease would be renewed."""
    courier = courier_of(app)
    server.fail("dot", "hang", times=1)
    await post()
    draining = asyncio.create_task(courier.drain())
    await server.until(lambda: server.hung == 1)

    def gone() -> Any:
        raise DatabaseUnavailable("gone for a moment")

    with monkeypatch.context() as patch:
        patch.setattr(database_of(app), "reading", gone)
        await asyncio.sleep(0.1)  # two polls
    server.release()
    with pytest.raises(DatabaseUnavailable):
        await draining
    assert await rows("state", "in_doubt") == [("sent", False)]


async def test_drains_beside_a_running_courier_all_return(app: Quart, server: SmtpServer) -> None:
    async with app.test_app(), asyncio.timeout(60):
        for _ in range(5):
            handles = [await post(to=f"ann{number}@example.com") for number in range(10)]
            await asyncio.gather(*(outbox.drain() for _ in range(4)))
            assert {await handle for handle in handles} == {"sent"}
    assert set(server.arrivals.values()) == {1}
    assert len(server.arrivals) == 50


async def test_a_drain_does_not_restart_a_courier_that_is_stopping(app: Quart, server: SmtpServer) -> None:
    """Nor does it end the renewal of the leases that the courier still holds."""
    courier = courier_of(app)
    server.fail("dot", "hang", to="slow@example.com")
    await post(to="slow@example.com")
    running = asyncio.create_task(courier.run())
    await server.until(lambda: server.hung == 1)
    stopping = asyncio.create_task(courier.stop(grace=10))
    await asyncio.sleep(0)
    await post(to="quick@example.com")
    async with asyncio.timeout(60):
        await outbox.drain()
        assert sorted(await rows("state")) == ["sending", "sent"]
        server.release()
        await stopping
        await running
    assert await rows("state", "in_doubt") == [("sent", False), ("sent", False)]
