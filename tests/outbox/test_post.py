"""Posting: what is stored, in which transaction, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import event, func, select

from app import outbox
from app.accounts.models import User
from app.database import reading, writing
from app.outbox.models import Content
from app.outbox.state import Outbox
from app.quart_mail import BadHeaderError, Message, NoRecipientsError
from tests.inspection import database_of
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer


@contextmanager
def statements(app: Quart) -> Iterator[list[str]]:
    seen: list[str] = []
    engine = database_of(app).writer.sync_engine

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_a_mail_is_committed_with_the_change_it_reports(app: Quart, server: SmtpServer) -> None:
    async with writing() as session:
        session.add(User(username="susan", email="susan@example.com"))
        await outbox.post(session, "note", to="susan@example.com")
    await outbox.drain()
    assert await rows("state") == ["sent"]
    assert len(server.messages) == 1


async def test_a_mail_is_rolled_back_with_the_change_it_reports(app: Quart, server: SmtpServer) -> None:
    with pytest.raises(ZeroDivisionError):
        async with writing() as session:
            handle = await outbox.post(session, "note", to="susan@example.com")
            raise ZeroDivisionError
    await outbox.drain()
    assert await rows() == []
    assert not server.messages
    with pytest.raises(outbox.NotPosted):
        await handle


async def test_posting_is_one_insert(app: Quart) -> None:
    async with writing() as session:
        await session.connection()
        with statements(app) as seen:
            await outbox.post(session, "note", unique="note:susan", to="susan@example.com")
    assert len(seen) == 1
    assert seen[0].startswith("INSERT INTO outbox")


async def test_the_courier_is_woken_by_the_commit_and_not_before(app: Quart, box: Outbox) -> None:
    async with writing() as session:
        await outbox.post(session, "note", to="susan@example.com")
        await outbox.post(session, "note", to="david@example.com")
        assert not box.wake_event.is_set()
    assert box.wake_event.is_set()


async def test_a_savepoint_is_no_commit(app: Quart, box: Outbox) -> None:
    async with writing() as session:
        async with session.begin_nested():
            await outbox.post(session, "note", to="susan@example.com")
        assert not box.wake_event.is_set()
    assert box.wake_event.is_set()


async def test_a_new_request_renews_a_waiting_mail(app: Quart) -> None:
    first = await post("note", unique="note:susan")
    [(created, expires)] = await rows("created_at", "expires_at")
    second = await post("note", unique="note:susan")
    [(created_again, expires_again)] = await rows("created_at", "expires_at")
    assert created_again > created
    assert expires_again > expires
    assert first.ids == second.ids
    await outbox.drain()
    assert await first == await second == "sent"


async def test_twenty_at_once_with_one_key_are_one_mail(app: Quart, server: SmtpServer) -> None:
    await asyncio.gather(*(post("note", unique="note:susan") for _ in range(20)))
    await outbox.drain()
    assert len(await rows()) == 1
    assert len(server.messages) == 1


async def test_after_it_was_sent_the_same_key_is_a_new_mail(app: Quart, server: SmtpServer) -> None:
    await post("note", unique="note:susan")
    await outbox.drain()
    await post("note", unique="note:susan")
    await outbox.drain()
    assert await rows("state") == ["sent", "sent"]
    assert len(server.arrivals) == 2


async def test_a_kind_nobody_registered_is_refused_at_once(app: Quart) -> None:
    async with writing() as session:
        with pytest.raises(LookupError, match="nonsense"):
            await outbox.post(session, "nonsense")


async def test_a_sent_mail_keeps_no_parameters(app: Quart) -> None:
    await post(to="susan@example.com", name="Susan")
    await outbox.drain()
    [row] = await rows()
    assert row.params is None
    assert "susan" not in str(row).lower()


async def post_message(message: Message) -> outbox.Handle:
    async with writing() as session:
        return await outbox.post_message(session, message)


async def count_contents() -> int:
    async with reading() as connection:
        return await connection.scalar(select(func.count()).select_from(Content)) or 0


async def test_a_ready_made_message_goes_to_each_recipient_with_the_same_bytes(
    app: Quart, server: SmtpServer
) -> None:
    message = Message(
        "Grüße",
        [("Ann, of Bonn", "ann@example.com"), "bob@example.com"],
        "Text\n.\n..dots",
        "<p>HTML",
        cc=["ann@example.com"],
        bcc=["eve@example.com"],
        reply_to=("Re", "re@example.com"),
    )
    message.attach("a.bin", "application/octet-stream", bytes(range(256)))
    expected = None
    handle = await post_message(message)
    expected = message.as_bytes()
    assert await count_contents() == 1
    await outbox.drain()
    assert await handle == "sent"
    assert sorted(to for _, [to] in server.envelopes) == [
        "ann@example.com",
        "bob@example.com",
        "eve@example.com",
    ]
    assert server.arrivals == {message.msgId: 3}
    assert set(server.messages) == {expected}
    assert await count_contents() == 0
    assert {row.content_id for row in await rows()} == {None}


async def test_one_refused_recipient_does_not_stop_the_others(app: Quart, server: SmtpServer) -> None:
    server.fail("rcpt", "550 no such person", to="bob@example.com")
    handle = await post_message(Message("Hi", ["ann@example.com", "bob@example.com"], "Hi!"))
    await outbox.drain()
    assert await handle == "failed"
    assert sorted((await handle.states()).values()) == ["failed", "sent"]
    [failed] = [row for row in await rows() if row.state == "failed"]
    assert (failed.recipient, failed.last_code) == ("bob@example.com", 550)
    assert "no such person" in failed.last_text
    assert await count_contents() == 1


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (lambda: Message("Hi", [], "Hi!"), NoRecipientsError),
        (lambda: Message("Hi\r\nBcc: eve@example.com", ["ann@example.com"], "Hi!"), BadHeaderError),
    ],
)
async def test_a_message_that_can_never_be_sent_is_refused_at_once(
    app: Quart, message: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await post_message(message())
    assert await rows() == []
