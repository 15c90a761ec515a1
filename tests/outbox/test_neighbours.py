"""A problem of one mail does not affect others: bad codes, bad values, and big messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import text

from app import outbox
from app.database import reading, writing
from app.outbox import messages
from app.outbox.models import State
from app.outbox.policy import SENDING_PER_CONNECTION
from app.outbox.state import Outbox
from app.quart_mail import Address, BadAddressError, Message, MessageError
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"OUTBOX_PROBE_MAX": 60, "MAIL_POOL_SIZE": 1}


HI = Message("Hi", ["ann@example.com"], "Hi!")


@pytest.mark.parametrize("code", [421, 530, 535, 538])
@pytest.mark.parametrize("stage", ["rcpt", "data", "dot"])
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_mail_that_upsets_the_server_does_not_stop_the_others(
    app: Quart, server: SmtpServer, stage: str, code: int
) -> None:
    server.fail(stage, f"{code} 4.7.0 not this one", to="poison@example.com")
    await post("urgent", to="poison@example.com")
    good = [await post(to=f"ann{number}@example.com") for number in range(5)]
    async with app.test_app(), asyncio.timeout(60):
        assert {await handle for handle in good} == {"sent"}
    [poison, *_] = await rows()
    assert (poison.state, poison.attempts) == ("queued", 0)


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_a_value_that_the_database_refuses_affects_only_its_own_mail(
    app: Quart, server: SmtpServer
) -> None:
    async def odd(request: outbox.MailRequest) -> outbox.Rendered:
        return outbox.Rendered(HI, about="NUL\x00")

    outbox.register(app, outbox.Kind("odd", odd))
    await post("odd")
    good = [await post(to=f"ann{number}@example.com") for number in range(5)]
    async with app.test_app(), asyncio.timeout(60):
        assert {await handle for handle in good} == {"sent"}
        while (await rows())[0].last_text is None:
            await asyncio.sleep(0.02)
    [refused, *_] = await rows()
    assert (refused.state, refused.in_doubt) == ("queued", False)
    assert refused.last_text.startswith("The database refused the write: ")


async def test_values_too_long_to_store_are_refused_when_posting(app: Quart) -> None:
    with pytest.raises(ValueError, match="about: at most 255 characters"):
        outbox.Rendered(HI, about="x" * 256)
    long_name, long_domain = "x" * 330 + "@example.com", f"ann@{'x.' * 120}example.com"
    async with writing() as session:
        with pytest.raises(BadAddressError, match="more than 320 characters"):
            await outbox.post_message(session, Message("Hi", [long_name], "Hi!"))
        message = Message("Hi", ["ann@example.com"], "Hi!")
        message.msgId = f"<1@{long_domain}>"
        with pytest.raises(MessageError, match="Message-ID has more than 255 characters"):
            await outbox.post_message(session, message)
    assert await rows() == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_no_more_ready_made_messages_are_in_memory_than_are_being_sent(
    app: Quart, box: Outbox, server: SmtpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    load = messages.load

    async def counting(*args: Any) -> Any:
        held.append(len(held) + 1 - len(server.messages))
        return await load(*args)

    monkeypatch.setattr(messages, "load", counting)
    people: list[Address] = [f"ann{number}@example.com" for number in range(40)]
    async with writing() as session:
        handle = await outbox.post_message(session, Message("Hi", people, "Hi!"))
    await outbox.drain()
    assert await handle == "sent"
    assert len(held) == 40
    assert max(held) <= SENDING_PER_CONNECTION * box.connections


async def test_during_an_upgrade_a_renderer_is_retried_later(app: Quart) -> None:
    async def newer(request: outbox.MailRequest) -> None:
        async with reading() as connection:
            await connection.execute(text("SELECT of_tomorrow FROM post"))

    outbox.register(app, outbox.Kind("newer", newer))
    await post("newer")
    await outbox.drain()
    [row] = await rows()
    assert row.state == State.QUEUED
    assert "`microblog db upgrade`" in row.last_text


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_slow_renderer_is_reported_as_slow(app: Quart, box: Outbox) -> None:
    async def slow(request: outbox.MailRequest) -> None:
        await asyncio.Event().wait()

    outbox.register(app, outbox.Kind("slow", slow))
    box.deadline = 0.01
    await post("slow")
    await outbox.drain()
    assert await rows("last_text") == ["Rendering took more than 0.01 s."]
