"""Rate limits for renderers: how many mails about somebody were sent recently."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from quart import Quart

from app import outbox
from app.database import writing
from app.dev.mail_parser import parse_mail
from app.outbox import maintenance
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.outbox.site import make_site, rows
from tests.smtp_server import SmtpServer


async def limited(request: outbox.MailRequest) -> outbox.Rendered | None:
    """Render a mail about somebody, of whom one mail a minute is enough."""
    about = request.params["about"]
    if await outbox.allowed_at(request, about, [(timedelta(minutes=1), 1)]):
        return None
    return outbox.Rendered(Message("Hi", ["ann@example.com"], "Hi!"), about=about)


async def post_limited(about: str) -> outbox.Handle:
    async with writing() as session:
        return await outbox.post(session, "limited", about=about)


async def test_one_of_two_mails_about_the_same_account_goes_out(app: Quart, server: SmtpServer) -> None:
    outbox.register(app, outbox.Kind("limited", limited))
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
        outbox.register(site, outbox.Kind("limited", meet))
    handles = [await post_limited("user:7") for _ in sites]
    async with sites[0].test_app(), sites[1].test_app():
        async with asyncio.timeout(60):
            assert sorted([await handle for handle in handles]) == ["sent", "skipped"]
    assert len(server.messages) == 1
    assert rendered == 3


async def test_a_mail_tried_again_does_not_count_itself(app: Quart, server: SmtpServer) -> None:
    outbox.register(app, outbox.Kind("limited", limited))
    server.fail("dot", "drop", times=1)
    handle = await post_limited("user:7")
    async with app.test_app():
        async with asyncio.timeout(60):
            assert await handle == "sent"
    [row] = await rows()
    assert row.in_doubt
    assert server.arrivals == {row.message_id: 2}


async def test_a_refused_mail_does_not_count(app: Quart, server: SmtpServer) -> None:
    outbox.register(app, outbox.Kind("limited", limited))
    server.fail("dot", "554 no", times=1)
    await post_limited("user:7")
    await outbox.drain()
    await post_limited("user:7")
    await outbox.drain()
    assert await rows("state") == ["failed", "sent"]


async def test_rates_are_measured_by_the_clock_of_the_outbox(app: Quart, box: Outbox) -> None:
    outbox.register(app, outbox.Kind("limited", limited))
    await post_limited("user:7")
    await outbox.drain()
    box.clock = lambda: datetime.now(UTC) + timedelta(minutes=2)  # type: ignore[method-assign]
    await post_limited("user:7")
    await outbox.drain()
    assert await rows("state") == ["sent", "sent"]


async def digest(request: outbox.MailRequest) -> outbox.Rendered | outbox.Postponed:
    """Render one mail of several names, at most one a minute."""
    if until := await outbox.allowed_at(request, "names", [(timedelta(minutes=1), 1)]):
        return outbox.Postponed(until)
    body = " ".join(request.params["names"])
    return outbox.Rendered(Message("Names", ["ann@example.com"], body), about="names")


def merge(waiting: dict[str, Any], newer: dict[str, Any]) -> dict[str, Any]:
    return {"names": waiting["names"] + newer["names"]}


def texts(server: SmtpServer) -> list[str]:
    return [str(parse_mail(content).text).strip() for content in server.messages]


async def post_names(*names: str) -> None:
    for name in names:
        async with writing() as session:
            await outbox.post(session, "digest", unique="digest", names=[name])


async def test_a_waiting_mail_says_what_newer_ones_say_and_keeps_its_time(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    outbox.register(app, outbox.Kind("digest", digest, merge=merge))
    await post_names("ann")
    await outbox.drain()
    await post_names("ben", "cleo")
    await outbox.drain()
    [_, waiting] = await rows()
    await post_names("dora")
    await outbox.drain()
    assert await rows("state") == ["sent", "queued"]
    assert [row.due_at for row in await rows()][1] == waiting.due_at
    assert waiting.attempts == 0
    box.clock = lambda: datetime.now(UTC) + timedelta(minutes=1)  # type: ignore[method-assign]
    await outbox.drain()
    assert await rows("state") == ["sent", "sent"]
    assert texts(server) == ["ann", "ben cleo dora"]


async def test_what_is_posted_while_a_mail_is_rendered_is_in_it(app: Quart, server: SmtpServer) -> None:
    async def slow(request: outbox.MailRequest) -> outbox.Rendered | outbox.Postponed:
        if request.params["names"] == ["ann"]:
            await post_names("ben")
        return await digest(request)

    outbox.register(app, outbox.Kind("digest", slow, merge=merge))
    await post_names("ann")
    await outbox.drain()
    assert await rows("state") == ["sent"]
    assert texts(server) == ["ann ben"]


async def test_a_digest_that_is_tried_again_is_not_replaced_by_the_next(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    outbox.register(app, outbox.Kind("digest", digest, merge=merge))
    server.fail("data", "hang", times=1)
    server.fail("dot", "451 later", times=1)
    await post_names("ann")
    draining = asyncio.create_task(outbox.drain())
    await server.until(lambda: server.hung == 1)
    await post_names("ben")
    server.release()
    await draining
    for minutes in (2, 4):
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        box.clock = lambda now=now: now  # type: ignore[method-assign, misc]
        await outbox.drain()
    assert await rows("state") == ["sent", "sent"]
    assert sorted(texts(server)) == ["ann", "ben"]


async def test_posts_at_once_make_one_waiting_mail(app: Quart) -> None:
    outbox.register(app, outbox.Kind("digest", digest, merge=merge))
    names = [f"name{n}" for n in range(10)]
    await asyncio.gather(*(asyncio.create_task(post_names(name)) for name in names))
    [params] = await rows("params")
    assert sorted(params["names"]) == names


async def test_of_a_transient_mail_nothing_is_kept_when_it_is_refused(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    outbox.register(app, outbox.Kind("farewell", digest, transient=True))
    server.fail("rcpt", "550 <zaphod@example.com>: unknown")
    async with writing() as session:
        handle = await outbox.post(session, "farewell", names=["zaphod"])
    await outbox.drain()
    assert await handle == "failed"
    assert "zaphod" not in repr(await rows())
    assert not await maintenance.retry(box, handle.ids[0])
