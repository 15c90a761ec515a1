"""A courier that stops, or whose drain breaks off, leaves nothing claimed and nothing under way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart

from app.database import DatabaseUnavailable
from tests.inspection import courier_of
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer


async def test_what_is_claimed_while_it_is_told_to_stop_is_let_go(
    app: Quart, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    courier = courier_of(app)
    taking = asyncio.Event()
    take = courier.ledger.take

    async def told(*args: Any) -> Any:
        taking.set()
        return await take(*args)

    monkeypatch.setattr(courier.ledger, "take", told)
    for number in range(20):
        await post(to=f"ann{number}@example.com")
    running = asyncio.create_task(courier.run())
    await taking.wait()
    await courier.stop(grace=5)
    assert running.done()
    assert set(await rows("claim_id")) == {None}
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("mail ")]


async def test_a_drain_that_breaks_off_ends_what_is_under_way(
    app: Quart, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop of a Celery worker stands still between tasks: no lease would be renewed."""
    courier = courier_of(app)
    server.fail("dot", "hang", times=1)
    await post()
    draining = asyncio.create_task(courier.drain())
    await server.until(lambda: server.hung == 1)

    async def gone(*args: Any) -> None:
        raise DatabaseUnavailable("gone for a moment")

    monkeypatch.setattr(courier, "_turn", gone)
    await asyncio.sleep(0.1)  # two of its looks
    server.release()
    with pytest.raises(DatabaseUnavailable):
        await draining
    assert await rows("state", "in_doubt") == [("sent", False)]
