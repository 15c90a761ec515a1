"""Error reports: one per kind and ten minutes with a count, without values."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart, abort
from sqlalchemy import select, text, update

from app import create_app, mail, outbox
from app.database import DatabaseUnavailable, reading, writing
from app.logs import LineFormatter
from app.outbox.models import Delivery
from app.quart_mail import Message
from app.reports.failures import Failure
from tests.clients import Visitor
from tests.factories import logged_in
from tests.inspection import bodies, connections_in_use, database_of, outbox_of

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"ADMINS": "root@example.com, ops@example.com"}


@pytest.fixture
def faulty(app: Quart) -> Quart:
    @app.get("/fault/<token>")
    async def fault(token: str) -> str:
        password = token
        raise KeyError(password)

    @app.get("/other")
    async def other() -> str:
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise ZeroDivisionError(SECRET) from error

    return app


async def settle(app: Quart) -> None:
    """Wait for the background tasks of the requests."""
    await asyncio.gather(*app.background_tasks)


async def mails(app: Quart) -> list[Message]:
    """Deliver, and return each mail once, however many recipients it has."""
    await settle(app)
    with mail.record_messages() as sent:
        await outbox.drain()
    return list({message.msgId: message for message in sent}.values())


async def sweep(app: Quart, *, after: timedelta) -> None:
    """Sweep as it happens `after` the last report."""
    async with writing() as session:
        await session.execute(update(Failure).values(mailed_at=datetime.now(UTC) - after))
    await app.extensions["reports"].sweep()


async def rows(table: type) -> list[Any]:
    async with reading() as connection:
        return list((await connection.execute(select(table))).all())


async def test_a_failure_is_reported_to_all_admins(faulty: Quart) -> None:
    page = await Visitor(faulty).get(f"/fault/{SECRET}?next={SECRET}")
    assert page.status == 500
    (message,) = await mails(faulty)
    assert message.subject == "[Microblog] Failure"
    assert message.recipients == ["root@example.com", "ops@example.com"]
    name = page.response.headers["X-Request-ID"]
    for part in bodies(message):
        assert name in part
        assert "KeyError" in part
        assert "in fault" in part
        assert "&lt;token&gt;" in part or "/fault/<token>" in part
    assert f"<code>{name}</code>" in page.text


@pytest.mark.parametrize("debug", [False, True])
async def test_no_value_is_in_a_report_a_row_or_the_log(
    faulty: Quart, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    faulty.config["DEBUG"] = debug
    visitor = Visitor(faulty)
    await visitor.get(f"/fault/{SECRET}?next={SECRET}", headers={"Cookie": f"session={SECRET}"})
    await visitor.get("/other")
    messages = await mails(faulty)
    assert len(messages) == 2
    assert all(SECRET not in str(message) + str(message.body) for message in messages)
    assert SECRET not in repr(await rows(Failure)) + repr(await rows(Delivery))
    assert SECRET not in caplog.text
    assert "KeyError" in caplog.text
    assert any("ValueError" in str(m.body) and "ZeroDivisionError" in str(m.body) for m in messages)


async def test_one_report_per_kind_and_ten_minutes_with_a_count(faulty: Quart) -> None:
    visitor = Visitor(faulty)
    for number in range(4):
        await visitor.get(f"/fault/{number}")
        await settle(faulty)
    assert len(await mails(faulty)) == 1
    (failure,) = await rows(Failure)
    assert failure.count == 3
    await sweep(faulty, after=timedelta(minutes=9))
    assert await mails(faulty) == []
    await sweep(faulty, after=timedelta(minutes=10, seconds=1))
    (message,) = await mails(faulty)
    assert "Times:       3" in str(message.body)


async def test_simultaneous_errors_are_one_report_and_all_counted(faulty: Quart) -> None:
    visitor = Visitor(faulty)
    await asyncio.gather(*(visitor.get("/fault/x") for _ in range(20)))
    reports = await mails(faulty)
    assert len(reports) == 1
    (failure,) = await rows(Failure)
    told = int(str(reports[0].body).partition("Times:")[2].split()[0])
    assert told + failure.count == 20


async def test_two_processes_send_one_report(faulty: Quart, config: dict[str, Any]) -> None:
    other = create_app(config)
    other.add_url_rule("/fault/<token>", view_func=faulty.view_functions["fault"])
    for app in (faulty, other):
        await asyncio.gather(*(Visitor(app).get("/fault/x") for _ in range(5)))
        await settle(app)
    assert len(await mails(faulty)) == 1
    await database_of(other).dispose()


async def test_client_errors_and_outages_are_not_reported(app: Quart) -> None:
    @app.get("/out")
    async def out() -> str:
        raise DatabaseUnavailable

    @app.get("/refused")
    async def refused() -> str:
        abort(400)

    visitor = Visitor(app)
    statuses = [(await visitor.get(path)).status for path in ("/out", "/refused", "/nothing")]
    assert statuses == [503, 400, 404]
    assert await mails(app) == []
    assert await rows(Failure) == []


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionResetError])
async def test_timeouts_and_connection_errors_are_reported(app: Quart, kind: type[OSError]) -> None:
    @app.get("/silent")
    async def silent() -> str:
        raise kind

    page = await Visitor(app).get("/silent")
    assert page.status == 500
    assert "The administrator has been notified" in page.text
    (message,) = await mails(app)
    assert kind.__name__ in str(message.body)


async def test_a_report_expires_after_a_day(faulty: Quart) -> None:
    await Visitor(faulty).get("/fault/x")
    await settle(faulty)
    (row,) = await rows(Delivery)
    assert row.expires_at - row.created_at == timedelta(days=1)


async def test_a_failure_to_report_is_only_logged(faulty: Quart, caplog: pytest.LogCaptureFixture) -> None:
    outbox_of(faulty).kinds.pop("error_report")
    page = await Visitor(faulty).get("/fault/x")
    assert page.status == 500
    await settle(faulty)
    assert await rows(Failure) == []
    assert "Unexpected error while reporting errors: LookupError" in caplog.text


@pytest.mark.database_limits
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_errors_during_an_outage_are_stored_later(faulty: Quart) -> None:
    database = database_of(faulty)
    async with writing() as session:  # SQLite's one writer is taken
        await session.execute(update(Failure).values(count=0))
        page = await Visitor(faulty).get("/fault/x")
        assert page.status == 500
        await settle(faulty)
    assert await rows(Failure) == []
    assert connections_in_use(database.writer) == 0
    await faulty.extensions["reports"].store()
    assert len(await mails(faulty)) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_error_does_not_end_the_sweeping(
    faulty: Quart, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    swept = asyncio.Event()
    times = 0

    async def fail() -> None:
        nonlocal times
        times += 1
        if times == 2:
            swept.set()
        raise LookupError("no such kind")

    reporter = faulty.extensions["reports"]
    monkeypatch.setattr("app.reports.SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(reporter, "sweep", fail)
    running = asyncio.create_task(reporter.run())
    async with asyncio.timeout(60):
        await swept.wait()
    running.cancel()
    assert "Unexpected error while reporting errors: LookupError" in caplog.text


async def test_the_log_names_a_missing_table(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    async with writing() as session:
        await session.execute(text("ALTER TABLE post RENAME TO posts"))
    visitor, _ = await logged_in(app, "susan")
    assert (await visitor.get("/explore")).status == 500
    [record] = [r for r in caplog.records if "event=failure" in LineFormatter("text").format(r)]
    line = LineFormatter("json").format(record)
    assert "no such table: post" in line or 'relation \\"post\\" does not exist' in line
