"""The pool: connections are reused, limited, and closed when their state is uncertain."""

from __future__ import annotations

import asyncio

import pytest

from app.quart_mail import (
    ConnectionLost,
    Mail,
    MailError,
    Message,
    NonsenseReply,
    SenderRefused,
    ServiceUnavailable,
)
from tests.smtp_server import SmtpServer, skip

from .conftest import MakeMail, make_app

TO = ["to@example.com"]


async def test_messages_one_after_the_other_share_a_connection(
    scripted: SmtpServer, make_mail: MakeMail, message: Message
) -> None:
    mail = make_mail(scripted.port)
    for _ in range(5):
        await mail.send(message)
    assert (scripted.connections, len(scripted.messages), mail.pool.idle) == (1, 5, 1)


async def test_at_most_pool_size_connections_and_everything_arrives(make_mail: MakeMail) -> None:
    async with SmtpServer() as server:
        mail = make_mail(server.port, MAIL_POOL_SIZE=3)
        results = await asyncio.gather(*(mail.send(Message(str(n), TO)) for n in range(40)))
        assert all(result.code == 250 for result in results)
        assert (server.connections, mail.pool.idle, mail.pool.in_use) == (3, 3, 0)
    assert len(server.messages) == 40


async def test_an_idle_connection_is_closed_after_its_time(
    scripted: SmtpServer, make_mail: MakeMail, message: Message
) -> None:
    mail = make_mail(scripted.port, MAIL_POOL_IDLE=300)
    await mail.send(message)
    assert mail.pool.idle == 1
    skip(301)
    await scripted.until(lambda: scripted.closed == 1)
    assert mail.pool.idle == 0
    assert scripted.commands[-1] == "QUIT"


async def test_close_says_quit_and_the_pool_can_be_used_again(
    scripted: SmtpServer, make_mail: MakeMail, message: Message
) -> None:
    mail = make_mail(scripted.port)
    await mail.send(message)
    await mail.close()
    await scripted.until(lambda: scripted.closed == 1)
    assert (scripted.commands[-1], scripted.open, mail.pool.idle) == ("QUIT", 0, 0)
    await mail.send(message)
    assert len(scripted.messages) == 2


async def test_a_connection_in_use_at_close_finishes_its_message_and_is_not_kept(
    scripted: SmtpServer, make_mail: MakeMail, message: Message
) -> None:
    mail = make_mail(scripted.port)
    result = await mail.send(message, before_data=mail.close)
    assert result.code == 250
    assert mail.pool.idle == mail.pool.in_use == 0
    await scripted.until(lambda: scripted.closed == 1)


async def test_connections_are_closed_when_the_app_stops_serving(message: Message) -> None:
    async with SmtpServer() as server:
        app = make_app(MAIL_PORT=server.port)
        mail = Mail(app)
        async with app.test_app():
            await mail.send(message)
            assert server.open == 1
        await server.until(lambda: server.closed == 1)


@pytest.mark.parametrize("over", ["pool", "connection"])
async def test_a_connection_takes_max_emails_and_the_next_is_opened_only_when_needed(
    make_mail: MakeMail, over: str
) -> None:
    async with SmtpServer() as server:
        mail = make_mail(server.port, MAIL_MAX_EMAILS=2)
        connections = []
        async with mail.connect() as connection:
            sender = connection if over == "connection" else mail
            base = server.connections
            for number in range(4):
                await sender.send(Message(str(number), TO))
                connections.append(server.connections - base)
        expected = [0, 0, 1, 1] if over == "connection" else [1, 1, 2, 2]
        assert connections == expected
        assert server.commands.count("QUIT") >= 2


def test_the_pool_begins_anew_on_another_event_loop(message: Message) -> None:
    app = make_app()
    mail = Mail(app)

    async def one_loop() -> int:
        async with SmtpServer() as server:
            assert mail.state is not None
            mail.state.port = server.port
            await asyncio.gather(*(mail.send(Message(str(n), TO)) for n in range(9)))
            await mail.close()
            return len(server.messages)

    assert [asyncio.run(one_loop()) for _ in range(2)] == [9, 9]


async def test_connect_fails_where_it_is_entered(make_mail: MakeMail) -> None:
    async with SmtpServer({"greeting": "554 go away"}) as server:
        with pytest.raises(MailError, match="554 go away"):
            async with make_mail(server.port).connect():
                pytest.fail("there is no connection")


@pytest.mark.parametrize("second", ["drop", "421 idle for too long"])
async def test_a_kept_connection_that_the_server_has_left_is_replaced_unseen(
    make_mail: MakeMail, second: str
) -> None:
    script: dict[str, str | list[str]] = {"mail": ["250 ok", second, "250 ok"]}
    async with SmtpServer(script) as server:
        mail = make_mail(server.port)
        assert (await mail.send(Message("one", TO))).code == 250
        assert (await mail.send(Message("two", TO))).code == 250
    assert (server.connections, len(server.messages)) == (2, 2)


async def test_only_one_new_connection_is_tried(make_mail: MakeMail) -> None:
    script: dict[str, str | list[str]] = {"mail": ["250 ok", "drop"]}
    async with SmtpServer(script) as server:
        mail = make_mail(server.port)
        await mail.send(Message("one", TO))
        with pytest.raises(ConnectionLost):
            await mail.send(Message("two", TO))
    assert server.connections == 2


@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
async def test_a_connection_lost_in_a_message_is_never_retried_by_itself(
    make_mail: MakeMail, stage: str
) -> None:
    async with SmtpServer({stage: ["250 ok", "drop"]}) as server:
        if stage == "data":
            server.script["data"] = "drop"
        mail = make_mail(server.port)
        if stage != "data":
            await mail.send(Message("one", TO))
        with pytest.raises(ConnectionLost) as caught:
            await mail.send(Message("two", TO))
        assert (server.connections, mail.pool.idle) == (1, 0)
    assert caught.value.in_doubt is (stage == "dot")


@pytest.mark.parametrize("fault", ["garbage", "199 odd", "900 odd", "354 odd", "250 ok\r\n250 and more"])
async def test_a_connection_that_talks_nonsense_is_closed_and_not_reused(
    make_mail: MakeMail, fault: str
) -> None:
    async with SmtpServer({"rcpt": [fault, "250 ok"]}) as server:
        mail = make_mail(server.port)
        with pytest.raises(NonsenseReply):
            await mail.send(Message("one", TO))
        assert mail.pool.idle == 0
        await mail.send(Message("two", TO))
        assert server.connections == 2


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data", "dot"])
async def test_a_refused_message_leaves_the_connection_for_the_next(make_mail: MakeMail, stage: str) -> None:
    async with SmtpServer({stage: ["550 no", GOOD_REPLY[stage]]}) as server:
        mail = make_mail(server.port)
        with pytest.raises(MailError, match="550 no"):
            await mail.send(Message("one", TO))
        await mail.send(Message("two", TO))
        assert server.connections == 1
    assert b"Subject: two" in server.messages[-1]
    assert ("RSET" in server.commands) is (stage != "dot")


GOOD_REPLY = {"mail": "250 ok", "rcpt": "250 ok", "data": "354 go", "dot": "250 ok"}


@pytest.mark.parametrize("answer", ["500 what?", "drop", "421 bye"])
async def test_a_server_that_does_not_reset_gets_a_new_connection(make_mail: MakeMail, answer: str) -> None:
    script: dict[str, str | list[str]] = {"mail": ["550 no", "250 ok"], "rset": answer}
    async with SmtpServer(script) as server:
        mail = make_mail(server.port)
        with pytest.raises(SenderRefused):
            await mail.send(Message("one", TO))
        await mail.send(Message("two", TO))
    assert (server.connections, len(server.messages)) == (2, 1)


async def test_421_closes_the_connection(make_mail: MakeMail, message: Message) -> None:
    async with SmtpServer({"rcpt": "421 going down"}) as server:
        mail = make_mail(server.port)
        with pytest.raises(ServiceUnavailable):
            await mail.send(message)
        assert mail.pool.idle == 0


async def test_replies_count_by_their_first_digit(make_mail: MakeMail) -> None:
    script: dict[str, str | list[str]] = {"mail": "200 fine", "rcpt": "251 forwarded", "dot": "299 yes"}
    async with SmtpServer(script) as server:
        result = await make_mail(server.port).send(Message("one", TO))
    assert (result.code, result.refused) == (299, {})


async def test_a_message_taken_together_with_a_goodbye_is_taken(make_mail: MakeMail) -> None:
    async with SmtpServer({"dot": "250 taken\r\n421 enough for now"}) as server:
        mail = make_mail(server.port)
        assert (await mail.send(Message("one", TO))).text == "taken"
        assert mail.pool.idle == 0
        assert (await mail.send(Message("two", TO))).text == "taken"
        assert server.connections == 2
