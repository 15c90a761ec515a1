"""A mail to several people: each of them is a delivery of its own, rendered mails included."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import update

from app import outbox
from app.database import writing
from app.email import send_error_report
from app.outbox.models import table
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.outbox.site import change, make_due, post, rows
from tests.smtp_server import SmtpServer

ANN, BOB, EVE = "ann@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"ADMINS": [ANN, BOB, EVE], "OUTBOX_RETRY_FIRST": 60, "OUTBOX_RETRY_MAX": 60}


async def team(request: outbox.MailRequest) -> Message | None:
    """Render a mail to three people."""
    return Message("News", [("Ann", ANN)], "Hello", "<p>Hello", cc=[BOB], bcc=[EVE])


async def states() -> dict[str, str]:
    return dict(await rows("recipient", "state"))


async def test_each_admin_gets_an_error_report_or_is_listed_with_the_reason(
    app: Quart, server: SmtpServer
) -> None:
    server.fail("rcpt", "550 no such person", to=BOB)
    server.fail("rcpt", "451 later", to=EVE, times=1)
    handle = await send_error_report(KeyError("x"))
    await outbox.drain()
    assert await states() == {ANN: "sent", BOB: "failed", EVE: "queued"}
    assert sorted((await handle.states()).values()) == ["failed", "queued", "sent"]
    await make_due()
    await outbox.drain()
    assert await states() == {ANN: "sent", BOB: "failed", EVE: "sent"}
    assert await handle == "failed"
    assert sorted(to for _, [to] in server.envelopes) == [ANN, EVE]
    assert list(server.arrivals.values()) == [2]
    reasons = dict(await rows("recipient", "last_text"))
    assert "no such person" in reasons[BOB]


async def test_all_copies_and_attempts_have_the_same_bytes(app: Quart, server: SmtpServer) -> None:
    outbox.register(app, outbox.Kind("team", team))
    server.fail("rcpt", "451 later", to=BOB, times=1)
    server.fail("dot", "drop", to=EVE, times=1)
    handle = await post("team")
    for _ in range(2):
        await outbox.drain()
        await make_due()
    assert await handle == "sent"
    assert sorted(to for _, [to] in server.envelopes) == [ANN, BOB, EVE, EVE]
    assert len(set(server.messages)) == 1
    assert EVE.encode() not in server.messages[0]
    assert await rows("in_doubt") == [False, False, True]


async def test_copies_do_not_count_against_the_rate_limit_of_their_mail(
    app: Quart, server: SmtpServer
) -> None:
    async def limited(request: outbox.MailRequest) -> outbox.Rendered | None:
        if await outbox.allowed_at(request, "team", [(timedelta(hours=1), 2)]):
            return None
        message = await team(request)
        assert message is not None
        return outbox.Rendered(message, about="team")

    outbox.register(app, outbox.Kind("team", limited))
    for state in ("sent", "sent", "skipped"):
        handle = await post("team")
        await outbox.drain()
        assert await handle == state
    assert len(server.envelopes) == 6


async def test_a_recipient_who_is_no_longer_one_is_skipped(app: Quart, server: SmtpServer) -> None:
    server.fail("rcpt", "451 later", times=3)
    await send_error_report(KeyError("x"))
    await outbox.drain()
    app.config["ADMINS"] = (ANN, EVE)
    await make_due()
    await outbox.drain()
    assert await states() == {ANN: "sent", BOB: "skipped", EVE: "sent"}


async def test_a_copy_whose_recipient_was_withdrawn_while_it_was_sent_is_not_sent_again(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    server.fail("rcpt", "451 later", to=BOB)
    await send_error_report(KeyError("x"))
    await outbox.drain()
    async with writing() as session:
        await session.execute(update(table).where(table.c.recipient == BOB).values(state="sending"))
        await outbox.withdraw(session, user_id=7, username="bob", address=BOB, is_same_address=BOB.__eq__)
    server.heal()
    await make_due()
    await outbox.drain()
    assert sorted(to for _, [to] in server.envelopes) == [ANN, EVE]
    assert await states() == {ANN: "sent", EVE: "sent", None: "skipped"}


async def test_a_newer_request_is_a_mail_of_its_own_once_the_first_is_split(
    app: Quart, server: SmtpServer
) -> None:
    outbox.register(app, outbox.Kind("team", team))
    server.fail("rcpt", "451 later", times=3)
    await post("team", unique="team")
    await outbox.drain()
    assert await rows("unique_key") == [None] * 3
    server.heal()
    await post("team", unique="team")
    await outbox.drain()
    await change(due_at=None)
    assert len(await rows()) == 6
