"""Sessions: before_data, timeouts, deadlines, cancellation and threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest

from app.quart_mail import ConnectError, ConnectionLost, DeadlineExceeded, Message, ReplyTimeout
from tests.smtp_server import SmtpServer, skip

from .conftest import MakeMail

TO = ["to@example.com"]


class StopError(TimeoutError):
    """An error of the caller's own; even a TimeoutError stays what it is."""


async def test_an_error_in_before_data_is_raised_and_nothing_is_sent(make_mail: MakeMail) -> None:
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


@pytest.mark.parametrize(
    ("stage", "scope", "in_doubt"),
    [("greeting", "server", False), ("mail", "message", False), ("dot", "message", True)],
)
async def test_the_deadline_covers_the_whole_transaction(
    make_mail: MakeMail, message: Message, stage: str, scope: str, in_doubt: bool
) -> None:
    async with SmtpServer({stage: "hang"}) as server:
        mail = make_mail(server.port)
        sending = asyncio.create_task(mail.send(message, deadline=50))
        await server.time_out(51)
        with pytest.raises(DeadlineExceeded, match="within 50 seconds") as caught:
            await sending
        assert (mail.pool.idle, mail.pool.in_use) == (0, 0)
        await server.until(lambda: server.closed == 1)
    error = caught.value
    assert (error.retry, error.scope, error.in_doubt) == (True, scope, in_doubt)
    assert isinstance(error, TimeoutError)


async def test_replies_that_are_each_in_time_can_exceed_the_deadline_together(make_mail: MakeMail) -> None:
    async with SmtpServer({"mail": "drip"}) as server:
        mail = make_mail(server.port, MAIL_DEADLINE=0.3)
        with pytest.raises(DeadlineExceeded):
            await mail.send(Message("s", TO))


async def test_waiting_for_a_connection_counts(make_mail: MakeMail, message: Message) -> None:
    async with SmtpServer({"dot": "hang"}) as server:
        mail = make_mail(server.port, MAIL_POOL_SIZE=1)
        first = asyncio.create_task(mail.send(message))
        await server.until(lambda: server.accepted == 1)
        with pytest.raises(DeadlineExceeded) as caught:
            await mail.send(message, deadline=0.05)
        assert caught.value.stage is None
        assert not caught.value.in_doubt
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_the_final_dot_has_its_own_longer_timeout(make_mail: MakeMail, message: Message) -> None:
    async with SmtpServer({"dot": "hang"}) as server:
        mail = make_mail(server.port, MAIL_TIMEOUT=20, MAIL_DATA_TIMEOUT=40, MAIL_DEADLINE=300)
        sending = asyncio.create_task(mail.send(message))
        await server.time_out(21)
        await asyncio.wait([sending], timeout=0.1)
        assert not sending.done()
        skip(20)
        with pytest.raises(ReplyTimeout) as caught:
            await sending
        assert caught.value.in_doubt
        with pytest.raises(ReplyTimeout):
            await mail.send(message, timeout=0.3)


async def test_with_a_reply_timeout_the_deadline_ends_at_the_final_dot(
    make_mail: MakeMail, message: Message
) -> None:
    async with SmtpServer({"dot": "hang"}) as server:
        mail = make_mail(server.port)
        sending = asyncio.create_task(mail.send(message, deadline=50, reply_timeout=300))
        await server.time_out(51)
        await asyncio.wait([sending], timeout=0.1)
        server.release()
        assert (await sending).code == 250
        with pytest.raises(ReplyTimeout) as caught:
            await mail.send(message, deadline=50, reply_timeout=0.2)
        assert caught.value.in_doubt
    async with SmtpServer({"data": "hang"}) as server:
        sending = asyncio.create_task(make_mail(server.port).send(message, deadline=50, reply_timeout=300))
        await server.time_out(51)
        with pytest.raises(DeadlineExceeded):
            await sending


async def test_a_server_that_does_not_take_connections_in_time(make_mail: MakeMail, message: Message) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):  # the kernel holds one or two connections for it, and then none
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.sock_connect(filler, full.getsockname()), 0.1)
        with pytest.raises(ConnectError, match="timed out") as caught:
            await make_mail(full.getsockname()[1]).send(message, timeout=0.05)
    assert (caught.value.retry, caught.value.scope) == (True, "server")
    assert (caught.value.stage, caught.value.code) == ("connect", None)


@pytest.mark.parametrize("stage", ["greeting", "ehlo", "mail", "rcpt", "dot"])
async def test_a_cancelled_sending_closes_its_connection(
    make_mail: MakeMail, message: Message, stage: str
) -> None:
    async with SmtpServer({stage: "hang"}) as server:
        mail = make_mail(server.port)
        task = asyncio.create_task(mail.send(message))
        await server.until(lambda: server.hung == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda: server.closed == 1)
        assert (mail.pool.idle, mail.pool.in_use, server.open) == (0, 0, 0)


async def test_a_cancellation_that_meets_the_reply_is_not_lost(make_mail: MakeMail) -> None:
    async with SmtpServer() as server:
        mail = make_mail(server.port)

        async def cancel_myself() -> None:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.create_task(mail.send(Message("s", TO), before_data=cancel_myself))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (mail.pool.idle, len(server.messages)) == (0, 0)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST.", "smtp.localhost"])
async def test_fifty_sends_hanging_at_the_final_dot_start_no_thread(make_mail: MakeMail, name: str) -> None:
    async with SmtpServer({"dot": "hang"}) as server:
        before = set(threading.enumerate())
        mail = make_mail(server.port, MAIL_SERVER=name, MAIL_POOL_SIZE=50)
        sends = [asyncio.create_task(mail.send(Message(str(n), TO, "b"))) for n in range(50)]
        await server.until(lambda: server.accepted == 50)
        assert server.open == 50
        assert set(threading.enumerate()) == before
        for send in sends:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)


async def test_localhost_is_reached_on_ipv6_when_ipv4_refuses(make_mail: MakeMail, message: Message) -> None:
    with socket.socket() as refusing:  # the port is ours there too: bound, and nobody listens
        refusing.bind(("127.0.0.1", 0))
        server = SmtpServer(host="::1", port=refusing.getsockname()[1])
        try:
            async with server:
                await make_mail(server.port).send(message)
        except OSError:
            pytest.skip("this machine has no IPv6")
    assert server.accepted == 1
