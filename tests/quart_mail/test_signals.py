"""Who hears of a mail: record_messages and receivers of email_dispatched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart

from app.quart_mail import Mail, Message, email_dispatched
from tests.smtp_server import AiosmtpdServer

from .conftest import MakeMail, make_app


async def test_only_this_apps_mail_is_recorded(make_mail: MakeMail) -> None:
    ours, others = make_mail(TESTING=True), make_mail(TESTING=True)
    with ours.record_messages() as outbox:
        await others.send_message("theirs", ["to@example.com"])
        await ours.send_message("ours", ["to@example.com"])
    assert [message.subject for message in outbox] == ["ours"]


async def test_one_mail_serves_the_app_in_context_and_else_the_last(
    make_mail: MakeMail,
) -> None:
    mail, one, two = Mail(), make_app(TESTING=True), make_app(TESTING=True)
    mail.init_app(one)
    mail.init_app(two)
    seen: list[Quart] = []

    def note(app: Quart, message: Message) -> None:
        seen.append(app)

    with email_dispatched.connected_to(note):
        await mail.send_message("s", ["to@example.com"])
        async with one.app_context():
            await mail.send_message("s", ["to@example.com"])
    assert seen == [two, one]


async def test_receivers_may_be_sync_or_async_and_run_on_the_loop(
    mail: Mail, app: Quart, message: Message
) -> None:
    calls: list[tuple[Any, ...]] = []

    def plain(sender: Quart, message: Message) -> None:
        calls.append(("sync", sender, message, asyncio.get_running_loop()))

    async def awaited(sender: Quart, message: Message) -> None:
        await asyncio.sleep(0)
        calls.append(("async", sender, message, asyncio.get_running_loop()))

    with email_dispatched.connected_to(plain), email_dispatched.connected_to(awaited, app):
        await mail.send(message)
    loop = asyncio.get_running_loop()
    assert sorted(c[0] for c in calls) == ["async", "sync"]
    assert all(c[1:] == (app, message, loop) for c in calls)


async def test_a_receiver_that_fails_does_not_make_the_sending_fail(
    mail: Mail, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(sender: Quart, message: Message) -> None:
        raise LookupError

    with mail.record_messages() as outbox, email_dispatched.connected_to(broken):
        await mail.send(message)
    assert outbox == [message]
    assert "receiver of email_dispatched failed" in caplog.text


async def test_nothing_is_announced_for_a_mail_that_failed(
    make_mail: MakeMail, message: Message
) -> None:
    async with AiosmtpdServer() as catcher:
        catcher.refuse["to@example.com"] = "550 no"
        mail = make_mail(catcher.port)
        with mail.record_messages() as outbox, pytest.raises(Exception, match="550 no"):
            await mail.send(message)
    assert outbox == []
