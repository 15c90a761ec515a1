"""Times in the outbox: expiry while waiting, a clock that is set back, and retry times."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from quart import Quart
from sqlalchemy import update

from app import outbox
from app.database import writing
from app.outbox import queries
from app.outbox.courier import Courier
from app.outbox.models import Delivery
from app.outbox.state import Outbox
from tests.inspection import courier_of
from tests.outbox.site import change, make_due, post, rows
from tests.smtp_server import SmtpServer


async def test_a_mail_that_expires_in_the_queue_is_not_sent(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    """All are claimed at once; while the first is sent, the clock passes the expiry of the others."""
    box.connections = 1
    site = app.extensions["outbox_courier"] = Courier(box)
    for number in range(4):
        await post(to=f"ann{number}@example.com")
    await change(expires_at=box.clock() + timedelta(seconds=box.lease / 3))
    server.fail("data", "hang", times=1)
    draining = asyncio.create_task(site.drain())
    await server.until(lambda: server.hung == 1)
    box.clock = lambda: datetime.now(UTC) + timedelta(seconds=box.lease / 2)  # type: ignore[method-assign]
    server.release()
    async with asyncio.timeout(60):
        await draining
    assert sorted(await rows("state")) == ["expired", "expired", "expired", "sent"]
    assert server.arrivals.total() == 1


async def test_a_clock_that_is_set_back_stops_no_mail(
    app: Quart, box: Outbox, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    box.clock = lambda: datetime.now(UTC) + timedelta(hours=1)  # type: ignore[method-assign]
    waiting, held = await post(), await post(to="ann@example.com")
    async with writing() as session:
        claimed = {"claim_id": "of-a-dead-process", "due_at": box.clock() + timedelta(seconds=30)}
        await session.execute(update(Delivery).where(Delivery.id == held.ids[0]).values(**claimed))
    box.clock = lambda: datetime.now(UTC)  # type: ignore[method-assign]
    async with asyncio.timeout(60):
        await outbox.drain()
        assert await waiting == "sent"
    [row] = [row for row in await rows() if row.id == held.ids[0]]
    assert timedelta() < row.due_at - box.clock() <= timedelta(seconds=box.lease)


async def test_a_retried_mail_is_as_old_as_its_request(app: Quart, box: Outbox, server: SmtpServer) -> None:
    box.times = replace(box.times, retry_first=60, retry_max=60)
    server.fail("data", "451 4.3.0 not now")
    await post()
    await change(created_at=datetime.now(UTC) - timedelta(seconds=90))
    await outbox.drain()
    found = await queries.stats(box)
    assert found.oldest_due is None
    assert 89 < (found.oldest_waiting or 0) < 150
    server.heal()
    await make_due()
    await outbox.drain()
    assert (await queries.stats(box)).oldest_waiting is None


async def test_the_oldest_due_mail_is_as_old_as_its_request_while_the_server_is_down(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    await server.close_port()
    await post()
    await change(created_at=datetime.now(UTC) - timedelta(seconds=90))
    await outbox.drain()
    assert 89 < ((await queries.stats(box)).oldest_due or 0) < 150


async def test_a_celery_worker_purges_too(app: Quart, box: Outbox, server: SmtpServer) -> None:
    courier = courier_of(app)
    await post()
    await outbox.drain()
    await change(done_at=datetime.now(UTC) - timedelta(days=100))
    await courier.drain(seconds=10, is_periodic=True)
    assert await rows() == []


async def test_a_long_wait_is_kept_whatever_this_process_settings(
    app: Quart, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process, with a longer OUTBOX_RETRY_MAX, deferred the mail for an hour."""
    await post()
    due_at = datetime.now(UTC) + timedelta(hours=1)
    await change(due_at=due_at, attempts=9)
    await outbox.drain()
    assert await rows("state", "due_at") == [("queued", due_at)]
    assert "clock" not in caplog.text
