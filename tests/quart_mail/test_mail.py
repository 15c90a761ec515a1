"""Mail and Connection: sending, recording and the signal."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from quart import Quart

from app.quart_mail import (
    BadHeaderError,
    Mail,
    MailSettings,
    Message,
    NoRecipientsError,
    NoSenderError,
    SendResult,
    email_dispatched,
)
from tests.smtp_server import AiosmtpdServer, SmtpServer

from .conftest import SENDER, MakeMail, make_app


def test_init_app_returns_the_state_and_registers_it() -> None:
    app = make_app(TESTING=True, MAIL_SERVER="mail.example.com")
    mail = Mail()
    assert mail.state is None
    state = mail.init_app(app)
    assert isinstance(state, MailSettings)
    assert app.extensions["mail"] is mail.state is state
    assert state == mail.init_mail(app.config, app.debug, app.testing)
    assert mail.server == "mail.example.com"
    with pytest.raises(AttributeError, match="no attribute 'servre'"):
        _ = mail.servre


async def test_without_an_app_it_says_what_to_do(message: Message) -> None:
    with pytest.raises(RuntimeError, match="call init_app"):
        await Mail().send(message)


async def test_send_records_the_message_and_sets_its_date(mail: Mail) -> None:
    with mail.record_messages() as outbox:
        message = Message(subject="testing", recipients=["tester@example.com"], body="test")
        before = time.time()
        result = await mail.send(message)
    assert result == SendResult(None, "", {})
    assert outbox == [message]
    assert message.date is not None
    assert before <= message.date <= time.time()
    assert message.sender == SENDER


async def test_send_message_makes_the_message(mail: Mail) -> None:
    with mail.record_messages() as outbox:
        await mail.send_message(subject="testing", recipients=["t@example.com"], body="test")
        async with mail.connect() as connection:
            await connection.send_message("second", ["t@example.com"], "test")
    assert [m.subject for m in outbox] == ["testing", "second"]
    assert (outbox[0].recipients, outbox[0].body) == (["t@example.com"], "test")
    assert outbox[0].sender == SENDER


async def test_a_hundred_messages_go_over_one_connection(make_mail: MakeMail) -> None:
    async with SmtpServer() as server:
        mail = make_mail(server.port)
        with mail.record_messages() as outbox:
            async with mail.connect() as connection:
                for number in range(100):
                    await Message(str(number), ["to@example.com"], "testing").send(connection)
        assert server.connections == 1
    assert len(outbox) == len(server.messages) == 100
    assert f"Subject: {99}".encode() in server.messages[-1]


async def test_tasks_that_share_a_connection_take_turns(make_mail: MakeMail) -> None:
    async with SmtpServer() as server:
        async with make_mail(server.port).connect() as connection:
            messages = [Message(str(number), ["to@example.com"]) for number in range(20)]
            await asyncio.gather(*(connection.send(message) for message in messages))
        assert (server.connections, len(server.messages)) == (1, 20)
    verbs = [command.split()[0] for command in server.commands[1:61]]
    assert verbs == ["MAIL", "RCPT", "DATA"] * 20


@pytest.mark.parametrize("over", ["mail", "connection"])
async def test_missing_parts_of_a_message_raise_our_assertion_error(mail: Mail, over: str) -> None:
    assert mail.state is not None
    mail.state.default_sender = None
    async with mail.connect() as connection:
        sender = mail if over == "mail" else connection
        with pytest.raises(AssertionError, match="does not specify a sender") as caught:
            await sender.send(Message(recipients=["to@example.com"]))
        assert isinstance(caught.value, NoSenderError)
        with pytest.raises(AssertionError, match="No recipients") as none:
            await sender.send(Message(sender="from@example.com"))
        assert isinstance(none.value, NoRecipientsError)
        with pytest.raises(BadHeaderError):
            await sender.send(Message("a\n\r", ["to@example.com"], sender="from@example.com"))


async def test_a_sender_set_on_the_message_later_counts(catcher: AiosmtpdServer, make_mail: MakeMail) -> None:
    mail = make_mail(catcher.port)
    message = Message("s", ["to@example.com"], "b")
    message.sender = "later@example.com"
    await mail.send(message)
    await mail.send(message, "Bounces <bounces@example.com>")
    await mail.send(message, envelope_from="<>")
    senders = [envelope.mail_from for envelope in catcher.envelopes]
    assert senders == ["later@example.com", "bounces@example.com", "<>"]
    assert catcher.parsed()["From"] == "later@example.com"


async def test_names_are_for_headers_and_bare_addresses_for_the_envelope(
    catcher: AiosmtpdServer, make_mail: MakeMail
) -> None:
    recipients: list[str | tuple[str, str]] = ["ÄÜÖ → ✓ <to@example.com>", ("Ann", "ann@example.com")]
    await make_mail(catcher.port).send(Message("s", recipients, "Öö"))
    assert catcher.envelopes[0].rcpt_tos == ["to@example.com", "ann@example.com"]
    assert catcher.parsed()["To"] == "ÄÜÖ → ✓ <to@example.com>, Ann <ann@example.com>"


async def test_esmtp_options_reach_the_server(make_mail: MakeMail) -> None:
    async with SmtpServer() as server:
        message = Message("s", ["to@example.com"], mail_options=["BODY=8BITMIME"])
        message.rcpt_options.append("NOTIFY=SUCCESS")
        await make_mail(server.port).send(message)
    size = len(server.messages[0])
    assert f"MAIL FROM:<{SENDER}> SIZE={size} BODY=8BITMIME" in server.commands
    assert "RCPT TO:<to@example.com> NOTIFY=SUCCESS" in server.commands


async def test_suppressed_mail_is_checked_and_written_but_not_sent(make_mail: MakeMail) -> None:
    class Unwritable:
        def __str__(self) -> str:
            raise LookupError

    mail = make_mail(9, TESTING=True)
    before = 0

    async def count() -> None:
        nonlocal before
        before += 1

    await mail.send(Message("s", ["to@example.com"], "b"), before_data=count)
    assert before == 1
    with pytest.raises(LookupError):
        await mail.send_message("s", ["to@example.com"], Unwritable())


@pytest.mark.parametrize(
    ("testing", "suppress", "sent"), [(True, None, 0), (True, False, 1), (False, None, 1), (False, True, 0)]
)
async def test_mail_suppress_send_decides_and_testing_is_its_default(
    catcher: AiosmtpdServer, make_mail: MakeMail, testing: bool, suppress: bool | None, sent: int
) -> None:
    given = {} if suppress is None else {"MAIL_SUPPRESS_SEND": suppress}
    mail = make_mail(catcher.port, TESTING=testing, **given)
    with mail.record_messages() as outbox:
        await mail.send_message("s", ["to@example.com"], "b")
    assert (len(outbox), len(catcher.envelopes)) == (1, sent)


async def test_only_this_apps_mail_is_recorded(make_mail: MakeMail) -> None:
    ours, others = make_mail(TESTING=True), make_mail(TESTING=True)
    with ours.record_messages() as outbox:
        await others.send_message("theirs", ["to@example.com"])
        await ours.send_message("ours", ["to@example.com"])
    assert [message.subject for message in outbox] == ["ours"]


async def test_one_mail_serves_the_app_in_context_and_else_the_last(make_mail: MakeMail) -> None:
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


async def test_nothing_is_announced_for_a_mail_that_failed(make_mail: MakeMail, message: Message) -> None:
    async with AiosmtpdServer() as catcher:
        catcher.refuse["to@example.com"] = "550 no"
        mail = make_mail(catcher.port)
        with mail.record_messages() as outbox, pytest.raises(Exception, match="550 no"):
            await mail.send(message)
    assert outbox == []
