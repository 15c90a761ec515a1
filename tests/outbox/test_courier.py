"""The courier: what it delivers, in which order and how often."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart

from app import outbox
from app.database import writing
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.inspection import courier_of
from tests.outbox.site import change, make_site, post, rows
from tests.smtp_server import SmtpServer


async def test_a_served_site_delivers_by_itself(app: Quart, server: SmtpServer) -> None:
    async with app.test_app():
        handle = await post()
        async with asyncio.timeout(60):
            assert await handle == "sent"
    assert len(server.messages) == 1
    [row] = await rows()
    assert (row.attempts, row.last_code, row.in_doubt) == (1, 250, False)


async def test_a_refusal_for_now_is_tried_again_with_the_same_message_id(
    app: Quart, server: SmtpServer
) -> None:
    server.fail("dot", "451 later", times=2)
    async with app.test_app():
        assert await asyncio.wait_for(post_and_wait(), 60) == "sent"
    [row] = await rows()
    assert row.attempts == 3
    assert server.arrivals == {row.message_id: 1}


async def post_and_wait(**params: Any) -> outbox.State:
    return await (await post(**params))


async def test_a_refusal_for_good_fails_at_once_and_says_why(app: Quart, server: SmtpServer) -> None:
    server.fail("dot", "554 looks like spam")
    await post()
    await outbox.drain()
    [row] = await rows()
    assert (row.state, row.attempts, row.last_code) == ("failed", 1, 554)
    assert "looks like spam" in row.last_text


async def test_a_mail_that_cannot_be_rendered_fails_alone(app: Quart, server: SmtpServer) -> None:
    await post(kind="urgent", fail=True)
    await post()
    await outbox.drain()
    broken, good = await rows()
    assert (broken.state, good.state) == ("failed", "sent")
    assert "KeyError" in broken.last_text
    assert "secret" not in broken.last_text


async def test_nothing_to_send_is_skipped(app: Quart, server: SmtpServer) -> None:
    handle = await post(nothing=True)
    await outbox.drain()
    assert await handle == "skipped"
    assert server.reached["connect"] == server.reached["greeting"] == 0


async def test_a_mail_past_its_time_expires_unsent(app: Quart, server: SmtpServer) -> None:
    handle = await post()
    await change(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await outbox.drain()
    assert await handle == "expired"
    assert not server.messages
    assert await rows("last_text") == ["The mail expired before it could be sent."]


async def test_a_kind_expires_by_its_own_time(app: Quart) -> None:
    async def render(request: outbox.MailRequest) -> Message | None:
        return None

    outbox.register(app, outbox.Kind("brief", render, expiry=7))
    await post("brief")
    [row] = await rows()
    assert row.expires_at - row.created_at == timedelta(seconds=7)


async def test_a_kind_registered_only_in_a_newer_process_waits(app: Quart, box: Outbox) -> None:
    await post()
    del box.kinds["note"]
    await outbox.drain()
    [row] = await rows()
    assert row.state == "queued"
    assert "note" in row.last_text


async def test_resets_go_first(app: Quart, server: SmtpServer) -> None:
    for number in range(6):
        await post("bulk", to=f"bulk{number}@example.com")
    await post("note", to="note@example.com")
    await post("urgent", to="urgent@example.com")
    await outbox.drain()
    order = [to for _, [to] in server.envelopes]
    assert order[0] == "urgent@example.com"
    assert order.index("note@example.com") < 4


@pytest.fixture
def pool_size() -> int:
    return 4


async def test_a_reset_passes_mails_that_hang(app: Quart, server: SmtpServer, config: dict[str, Any]) -> None:
    site = make_site(config | {"MAIL_DATA_TIMEOUT": 30, "OUTBOX_GRACE": 0})
    for number in range(12):
        server.fail("dot", "hang", to=f"slow{number}@example.com")
    async with site.test_app(), site.app_context():
        for number in range(12):
            await post("bulk", to=f"slow{number}@example.com")
        await server.until(lambda: server.accepted >= 3)
        handle = await post("urgent", to="quick@example.com")
        async with asyncio.timeout(60):
            assert await handle == "sent"
        assert server.most_open == 4


async def test_a_down_server_pauses_without_spending_attempts(
    app: Quart, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.close_port()
    async with app.test_app():
        handles = [await post(to=f"ann{number}@example.com") for number in range(9)]
        await asyncio.sleep(0.3)
        assert {row.attempts for row in await rows()} == {0}
        await server.open_port()
        async with asyncio.timeout(60):
            assert {await handle for handle in handles} == {"sent"}
    assert {row.attempts for row in await rows()} == {1}
    assert set(server.arrivals.values()) == {1}
    assert caplog.text.count("Mail server unavailable; delivery paused") == 1
    assert caplog.text.count("Mail server available again; delivery resumed") == 1


async def test_a_refused_sender_pauses_without_spending_attempts(
    app: Quart, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail("mail", "553 5.7.1 not yours")
    async with app.test_app(), asyncio.timeout(60):
        handles = [await post(to=f"ann{number}@example.com") for number in range(9)]
        handles.append(await post("urgent"))
        await server.until(lambda: server.reached["mail"] >= 12)  # probes
        assert {(row.state, row.attempts) for row in await rows()} <= {("queued", 0), ("sending", 0)}
        server.heal()
        assert {await handle for handle in handles} == {"sent"}
    assert set(server.arrivals.values()) == {1}
    paused = (
        "delivery paused: The mail server refused the sender noreply@example.com. Set MAIL_DEFAULT_SENDER "
    )
    assert caplog.text.count(paused) == 1


async def test_a_refused_sender_of_one_message_stops_no_other(app: Quart, server: SmtpServer) -> None:
    server.fail("mail", "553 5.7.1 not yours", times=1)
    async with writing() as session:
        message = Message("Hi", ["ann@example.com"], "Hi!", sender="boss@example.com")
        refused = await outbox.post_message(session, message)
    await outbox.drain()
    assert await refused == "failed"
    assert not courier_of(app).breaker.is_open


async def test_another_process_waits_for_its_handle_by_polling(
    app: Quart, server: SmtpServer, config: dict[str, Any]
) -> None:
    other = make_site(config)
    handle = await post()
    async with other.test_app():
        async with asyncio.timeout(60):
            assert await handle == "sent"


async def test_drain_delivers_what_a_served_site_would(app: Quart, server: SmtpServer) -> None:
    for number in range(25):
        await post(to=f"ann{number}@example.com")
    await outbox.drain()
    assert set(await rows("state")) == {"sent"}
    assert len(server.arrivals) == 25
    assert server.most_open <= 4


async def test_drain_gives_up_on_a_server_that_is_down(app: Quart, server: SmtpServer) -> None:
    await server.close_port()
    await post()
    await outbox.drain()
    [row] = await rows()
    assert (row.state, row.attempts) == ("queued", 0)
    assert "refused" in row.last_text
    await server.open_port()
    await outbox.drain()
    assert await rows("state") == ["sent"]
