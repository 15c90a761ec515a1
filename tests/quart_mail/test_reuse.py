"""Which connections are used again, and which are closed."""

from __future__ import annotations

import pytest

from app.quart_mail import (
    ConnectionLost,
    MailError,
    Message,
    NonsenseReply,
    SenderRefused,
    ServiceUnavailable,
)
from tests.smtp_server import SmtpServer

from .conftest import MakeMail

TO = ["to@example.com"]


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


@pytest.mark.parametrize(
    "fault", ["garbage", "199 odd", "900 odd", "354 odd", "250 ok\r\n250 and more"]
)
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
async def test_a_refused_message_leaves_the_connection_for_the_next(
    make_mail: MakeMail, stage: str
) -> None:
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
async def test_a_server_that_does_not_reset_gets_a_new_connection(
    make_mail: MakeMail, answer: str
) -> None:
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
    script: dict[str, str | list[str]] = {
        "mail": "200 fine",
        "rcpt": "251 forwarded",
        "dot": "299 yes",
    }
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
