"""How many mails about somebody went out lately, and what a renderer is told of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from quart import Quart

from app import outbox
from app.database import writing
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.outbox.site import make_site, rows
from tests.smtp_server import SmtpServer


async def limited(request: outbox.MailRequest) -> outbox.Rendered | None:
    """Render a mail about somebody, of whom one mail a minute is enough."""
    about = request.params["about"]
    if not await outbox.within_rate_limit(request, about, [(timedelta(minutes=1), 1)]):
        return None
    return outbox.Rendered(Message("Hi", ["ann@example.com"], "Hi!"), about=about)


async def post_limited(about: str) -> outbox.Handle:
    async with writing() as session:
        return await outbox.post(session, "limited", about=about)


async def test_one_of_two_mails_about_the_same_account_goes_out(
    app: Quart, server: SmtpServer
) -> None:
    outbox.register(app, "limited", limited)
    for about in ("user:7", "user:7", "user:8", "user:7"):
        await post_limited(about)
    await outbox.drain()
    assert sorted(await rows("state", "about")) == [
        ("sent", "user:7"),
        ("sent", "user:8"),
        ("skipped", None),
        ("skipped", None),
    ]
    assert len(server.messages) == 2


async def test_two_couriers_that_render_at_once_send_one_mail(
    app: Quart, server: SmtpServer, config: dict[str, Any]
) -> None:
    """Both renderers count nobody; the database lets one of them through."""
    both = asyncio.Barrier(2)
    rendered = 0

    async def meet(request: outbox.MailRequest) -> outbox.Rendered | None:
        nonlocal rendered
        rendered += 1
        message = await limited(request)
        if rendered <= 2:
            await both.wait()
        return message

    sites = [app, make_site(config)]
    for site in sites:
        outbox.register(site, "limited", meet)
    handles = [await post_limited("user:7") for _ in sites]
    async with sites[0].test_app(), sites[1].test_app():
        async with asyncio.timeout(10):
            assert sorted([await handle for handle in handles]) == ["sent", "skipped"]
    assert len(server.messages) == 1
    assert rendered == 3


async def test_a_mail_tried_again_does_not_count_itself(app: Quart, server: SmtpServer) -> None:
    outbox.register(app, "limited", limited)
    server.fail("dot", "drop", times=1)
    handle = await post_limited("user:7")
    async with app.test_app():
        async with asyncio.timeout(20):
            assert await handle == "sent"
    [row] = await rows()
    assert row.in_doubt
    assert server.arrivals == {row.message_id: 2}


async def test_a_refused_mail_does_not_count(app: Quart, server: SmtpServer) -> None:
    outbox.register(app, "limited", limited)
    server.fail("dot", "554 no", times=1)
    await post_limited("user:7")
    await outbox.drain()
    await post_limited("user:7")
    await outbox.drain()
    assert await rows("state") == ["failed", "sent"]


async def test_rates_are_measured_by_the_clock_of_the_outbox(app: Quart, box: Outbox) -> None:
    outbox.register(app, "limited", limited)
    await post_limited("user:7")
    await outbox.drain()
    box.clock = lambda: datetime.now(UTC) + timedelta(minutes=2)  # type: ignore[method-assign]
    await post_limited("user:7")
    await outbox.drain()
    assert await rows("state") == ["sent", "sent"]
