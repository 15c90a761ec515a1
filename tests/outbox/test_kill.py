"""kill -9 at every point: no committed mail is lost, and only mails in doubt can arrive twice."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import text

from app.database import DatabaseUnavailable, writing
from tests.outbox.process import BEFORE_DATA, IN_BATCHES, POINTS, worker
from tests.outbox.site import make_due, post, rows
from tests.processes import PATIENCE_SECONDS, Process
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.slow

SHORT_LEASES = {"OUTBOX_LEASE": 1.0, "OUTBOX_RENEW": 0.3}
MAILS = 30


async def everything_done() -> list[Any]:
    """Return the rows when all are done."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await rows()
            if all(row.due_at is None for row in found):
                return found
            await asyncio.sleep(0.05)


async def assert_kept(promised: list[int], server: SmtpServer) -> None:
    """Nothing promised is lost; what arrived twice is flagged."""
    found = {row.id: row for row in await rows()}
    assert set(promised) <= set(found)
    for row in found.values():
        assert row.state == "sent"
        assert server.arrivals[row.message_id] >= 1
        assert server.arrivals[row.message_id] == 1 or row.in_doubt


@pytest.mark.parametrize("point", [*POINTS, BEFORE_DATA])
async def test_killed_at_each_point_nothing_is_lost(
    app: Quart, server: SmtpServer, config: dict[str, Any], point: str
) -> None:
    after = 2 if point in IN_BATCHES else 9
    async with worker(config, post=MAILS, kill_at=point, kill_after=after) as doomed:
        assert await doomed.end() == -signal.SIGKILL
    promised = doomed.promised
    await make_due()  # as when its leases have ended
    async with worker(config) as heir:
        await everything_done()
        assert await heir.terminate() == 0
    await assert_kept(promised, server)


async def test_killed_again_and_again_at_random_nothing_is_lost(
    app: Quart, server: SmtpServer, config: dict[str, Any]
) -> None:
    config |= SHORT_LEASES
    promised: list[int] = []
    for arrivals in (5, 11, 2, 30):
        so_far = server.arrivals.total()
        async with worker(config, post=40) as doomed:
            await server.until(lambda: server.arrivals.total() >= so_far + arrivals)  # noqa: B023
            doomed.signal(signal.SIGKILL)
            await doomed.end()
        promised += doomed.promised
    async with worker(config) as heir:
        await everything_done()
        assert await heir.terminate() == 0
    assert len(promised) > 10  # how far it came before each kill is chance
    await assert_kept(promised, server)


async def test_four_couriers_deliver_each_mail_once_and_all_of_them_work(
    app: Quart, server: SmtpServer, config: dict[str, Any]
) -> None:
    names = [f"courier{number}.example.com" for number in range(4)]
    posted = 0
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_SECONDS):
        for name in names:
            await stack.enter_async_context(worker(config | {"MAIL_LOCAL_HOSTNAME": name}))
        while posted < 100 or len(server.helos) < len(names):
            await post(to=f"ann{posted}@example.com")
            posted += 1
        found = await everything_done()
    assert set(server.helos) == set(names)
    assert {row.state for row in found} == {"sent"}
    assert not any(row.in_doubt for row in found)
    assert set(server.arrivals.values()) == {1}
    assert len(server.arrivals) == posted


async def test_a_frozen_courier_that_wakes_up_starts_no_data_and_settles_nothing(
    app: Quart, server: SmtpServer, config: dict[str, Any]
) -> None:
    """It is frozen after RCPT TO, its reply withheld, until its leases have ended and another courier delivered."""
    for number in range(3):
        await post(to=f"ann{number}@example.com")
    server.fail("rcpt", "hang", times=1)
    settings = {"OUTBOX_DEADLINE": 600, "MAIL_POOL_SIZE": 1, "MAIL_POOL_IDLE": 0.1}
    async with worker(config | settings) as frozen:
        await server.until(lambda: server.hung == 1, seconds=PATIENCE_SECONDS)
        await freeze_without_lock(frozen)
        async with worker(config) as other:
            found = await everything_done()
            assert await other.terminate() == 0
        assert {row.state for row in found} == {"sent"}
        assert [row.in_doubt for row in found].count(True) == 1  # the one in `sending`
        before = dict(server.arrivals), server.reached["data"]
        frozen.signal(signal.SIGUSR1)
        server.release()
        closed = server.closed
        frozen.signal(signal.SIGCONT)
        await server.until(lambda: server.closed > closed, seconds=PATIENCE_SECONDS)
        assert await frozen.terminate() == 0
    assert (dict(server.arrivals), server.reached["data"]) == before
    assert await rows() == found


async def freeze_without_lock(process: Process) -> None:
    """Freeze a process when it is in no transaction, and end its leases."""
    while True:
        async with writing() as session:
            await session.execute(text("SELECT 1"))  # on SQLite it now has the only write lock
            await process.freeze()
        with suppress(DatabaseUnavailable):
            await make_due()
            return
        process.signal(signal.SIGCONT)


async def test_at_sigterm_a_courier_releases_what_it_cannot_finish(
    app: Quart, server: SmtpServer, config: dict[str, Any]
) -> None:
    for number in range(20):
        await post(to=f"ann{number}@example.com")
    server.fail("data", "hang", to="ann3@example.com")
    async with worker(config | {"OUTBOX_GRACE": 1.0, "OUTBOX_DEADLINE": 600}) as stopped:
        await server.until(lambda: server.hung == 1, seconds=PATIENCE_SECONDS)
        assert await stopped.terminate() == 0
    found = await rows()
    assert {row.state for row in found} <= {"sent", "queued"}
    assert {row.claim_id for row in found} == {None}
    for row in found:
        assert server.arrivals[row.message_id] == (row.state == "sent")
    [hung] = [row for row in found if row.in_doubt]
    assert hung.state == "queued"
