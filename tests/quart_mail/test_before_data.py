"""before_data: the caller's last word before a message goes out."""

from __future__ import annotations

import pytest

from app.quart_mail import ConnectionLost, Message
from tests.smtp_server import SmtpServer

from .conftest import MakeMail

TO = ["to@example.com"]


class StopError(TimeoutError):
    """An error of the caller's own; even a TimeoutError stays what it is."""


async def test_what_before_data_raises_comes_out_and_nothing_is_sent(make_mail: MakeMail) -> None:
    error = StopError("not any more")

    async def stop() -> None:
        raise error

    async with SmtpServer() as server:
        mail = make_mail(server.port)
        with mail.record_messages() as outbox, pytest.raises(StopError) as caught:
            await mail.send(Message("one", TO), before_data=stop)
        assert caught.value is error
        assert (outbox, server.messages, mail.pool.idle) == ([], [], 1)
        assert "DATA" not in server.commands
        await mail.send(Message("two", TO))
    assert server.connections == 1
    assert server.commands.count("RSET") == 1
    assert b"Subject: two" in server.messages[0]


async def test_before_data_comes_after_the_recipients_and_before_data(
    scripted: SmtpServer, make_mail: MakeMail, message: Message
) -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.extend(scripted.commands)

    await make_mail(scripted.port).send(message, before_data=look)
    assert seen[-1] == "RCPT TO:<to@example.com>"
    assert scripted.commands[-1] == "DATA"


async def test_before_data_is_not_called_when_all_recipients_are_refused(
    make_mail: MakeMail, message: Message
) -> None:
    async def never() -> None:
        pytest.fail("there is nobody to send to")

    async with SmtpServer({"rcpt": "550 no"}) as server:
        with pytest.raises(Exception, match="550 no"):
            await make_mail(server.port).send(message, before_data=never)


async def test_a_mail_error_of_before_data_is_not_taken_for_one_of_this_connection(
    make_mail: MakeMail,
) -> None:
    calls = 0

    async def nested_trouble() -> None:
        nonlocal calls
        calls += 1
        raise ConnectionLost("another server hung up", stage="mail")

    async with SmtpServer() as server:
        mail = make_mail(server.port)
        await mail.send(Message("one", TO))
        with pytest.raises(ConnectionLost, match="another server"):
            await mail.send(Message("two", TO), before_data=nested_trouble)
    assert (calls, server.connections, len(server.messages)) == (1, 1, 1)
