"""A database that cannot be written temporarily delays mail, but neither loses nor duplicates it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import pytest
from quart import Quart
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from app import outbox
from app.migrations import run as migrations
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.inspection import courier_of, database_of
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"MAIL_TIMEOUT": 20}


@asynccontextmanager
async def locked(database_url: str) -> AsyncIterator[None]:
    """Hold the lock that every writer needs."""
    async with aiosqlite.connect(database_url.removeprefix("sqlite:///")) as connection:
        await connection.execute("BEGIN IMMEDIATE")
        yield
        await connection.rollback()


async def test_a_sent_mail_is_settled_when_the_database_is_back(
    app: Quart, server: SmtpServer, database_url: str
) -> None:
    server.fail("data", "hang", times=1)
    async with app.test_app(), asyncio.timeout(60):
        handle = await post()
        await server.until(lambda: server.hung == 1)
        async with locked(database_url):
            server.release()
            await server.until(lambda: server.arrivals.total() == 1)
            await asyncio.sleep(2.5)  # longer than a writer waits for the lock
            assert await rows("state") == ["sending"]
        assert await handle == "sent"
    assert set(server.arrivals.values()) == {1}
    assert await rows("in_doubt") == [False]


async def test_nothing_is_sent_that_cannot_be_marked_as_sending(
    app: Quart, server: SmtpServer, database_url: str
) -> None:
    rendering, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: outbox.MailRequest) -> Message:
        rendering.set()
        await go_on.wait()
        return Message("Hi", ["ann@example.com"], "Hi!")

    outbox.register(app, outbox.Kind("slow", slow))
    async with app.test_app(), asyncio.timeout(60):
        handle = await post("slow")
        await rendering.wait()
        async with locked(database_url):
            go_on.set()
            await asyncio.sleep(2.5)
            assert server.reached["greeting"] == 0
        assert await handle == "sent"
    assert set(server.arrivals.values()) == {1}


async def test_an_outdated_schema_is_logged_once_with_the_command_to_run(
    app: Quart, box: Outbox, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="app.outbox")
    database = database_of(app)
    courier = courier_of(app)
    await migrations.downgrade(database, "base")
    errors: list[object] = []
    has_looked_often = asyncio.Event()

    @event.listens_for(database.reader.sync_engine, "handle_error")
    def count(context: ExceptionContext) -> None:
        errors.append(context.original_exception)
        if len(errors) == 4:
            has_looked_often.set()

    async with asyncio.timeout(60):
        running = asyncio.create_task(courier.run())
        await has_looked_often.wait()
        told = [record.getMessage() for record in caplog.records]
        assert told == [
            "Cannot read the outbox: the database schema is out of date; run `microblog db upgrade`"
        ]
        await migrations.upgrade(database)
        assert await (await post()) == "sent"
        await courier.stop(1)
        await running
    told = [record.getMessage() for record in caplog.records]
    assert told[1:] == ["The outbox can be read again", "Mail courier stopping; deliveries in progress: 0"]
