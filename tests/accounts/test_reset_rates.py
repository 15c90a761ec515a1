"""How many reset mails one account gets, whoever asks; and which of several links is good."""

from __future__ import annotations

from datetime import timedelta

from quart import Quart
from sqlalchemy import select, update

from app import mail, outbox
from app.database import reading, writing
from app.outbox.models import Delivery
from app.quart_mail import Message
from tests.clients import Page, Visitor
from tests.factories import make_user
from tests.inspection import reset_link


async def ask(app: Quart, address: str = "susan@example.com") -> tuple[Page, list[Message]]:
    with mail.record_messages() as sent:
        page = await Visitor(app).submit("/reset_password_request", email=address)
        await outbox.drain()
    return page, sent


async def let_pass(time: timedelta) -> None:
    """Make every mail that went out as old as if `time` had passed."""
    async with reading() as connection:
        rows = (await connection.execute(select(Delivery.id, Delivery.handed_at))).all()
    async with writing() as session:
        for row in rows:
            if row.handed_at is not None:
                handed_at = row.handed_at - time
                await session.execute(
                    update(Delivery).where(Delivery.id == row.id).values(handed_at=handed_at)
                )


async def test_mails_are_a_minute_apart_and_the_page_does_not_show_it(app: Quart) -> None:
    await make_user("susan")
    first, sent = await ask(app)
    assert len(sent) == 1
    second, sent = await ask(app, "SUSAN@example.com")
    assert sent == []
    assert (first.status, first.location, first.text) == (second.status, second.location, second.text)  # fmt: skip
    await let_pass(timedelta(seconds=61))
    assert len((await ask(app))[1]) == 1


async def test_five_an_hour_and_ten_a_day(app: Quart) -> None:
    await make_user("susan")

    async def asked(times: int, apart: timedelta) -> int:
        count = 0
        for _ in range(times):
            count += len((await ask(app))[1])
            await let_pass(apart)
        return count

    assert await asked(7, timedelta(seconds=61)) == 5
    await let_pass(timedelta(hours=1))
    assert await asked(7, timedelta(minutes=21)) == 5
    await let_pass(timedelta(days=1))
    assert await asked(1, timedelta()) == 1


async def test_the_limits_of_one_account_are_not_those_of_another(app: Quart) -> None:
    for name in ("susan", "david"):
        await make_user(name)
        assert len((await ask(app, f"{name}@example.com"))[1]) == 1


async def test_requests_that_still_wait_make_one_mail(app: Quart) -> None:
    await make_user("susan")
    for address in ("susan@example.com", "Susan@Example.com", " SUSAN@EXAMPLE.COM "):
        await Visitor(app).submit("/reset_password_request", email=address)
    with mail.record_messages() as sent:
        await outbox.drain()
    assert [message.recipients for message in sent] == [["susan@example.com"]]


async def test_a_completed_reset_ends_the_links_before_it(app: Quart) -> None:
    await make_user("susan")
    links = []
    for _ in range(2):
        links.append(reset_link((await ask(app))[1][0].body))
        await let_pass(timedelta(seconds=61))
    new, visitor = "battery staple", Visitor(app)
    assert (await visitor.submit(links[1], password=new, password2=new)).location == "/login"
    assert (await visitor.get(links[0])).location == "/reset_password_request"
