"""Registering with CONFIRM_EMAIL on: one answer for every address, and no account before the link."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select, update

from app import mail, outbox
from app.accounts import emails
from app.accounts.models import Registration, User
from app.database import reading, writing
from app.quart_mail import Message
from tests.clients import Page, Visitor
from tests.factories import count, logged_in, make_user
from tests.inspection import bodies, link_to

CHECK = "Check your email and follow the link to finish your registration."


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"CONFIRM_EMAIL": True, "FLASKY_ADMIN": "admin@example.com"}


async def register(visitor: Visitor, username: str, email: str) -> tuple[Page, list[Message]]:
    with mail.record_messages() as sent:
        page = await visitor.submit(
            "/register", username=username, email=email, password="correct horse", password2="correct horse"
        )
        await outbox.drain()
    return page, sent


async def test_there_is_no_account_before_the_link_is_followed(app: Quart) -> None:
    visitor = Visitor(app)
    page, [message] = await register(visitor, "susan", "susan@example.com")
    assert page.location == "/login"
    assert (await visitor.get("/login")).flashes == [CHECK]
    assert message.recipients == ["susan@example.com"]
    link = link_to("confirm", message.body)
    assert link in bodies(message)[1]
    assert (await visitor.log_in("susan")).flashes == ["Invalid username or password"]
    assert "susan" in (await visitor.get(link)).text
    assert (await visitor.client.head(link)).status_code == 200
    assert await count(User) == 0
    with mail.record_messages() as sent:
        assert (await visitor.submit(link)).location == "/login"
        await outbox.drain()
    assert [m.recipients for m in sent] == [["admin@example.com"]]
    assert (await visitor.log_in("susan")).location == "/index"
    assert await count(Registration) == 0


async def test_free_and_taken_addresses_get_one_answer(app: Quart) -> None:
    await make_user("susan")
    answers = []
    for name, address in (("one", "SUSAN@example.com"), ("two", "free@example.com")):
        visitor = Visitor(app)
        page, _ = await register(visitor, name, address)
        headers = dict(page.response.headers.items(lower=True))
        for own in ("set-cookie", "x-request-id"):
            headers.pop(own, None)
        answers.append((page.status, page.text, headers, (await visitor.get("/login")).flashes))
    assert answers[0] == answers[1]


async def test_the_owner_of_a_taken_address_gets_the_news(app: Quart) -> None:
    await make_user("susan")
    _, [message] = await register(Visitor(app), "other", "Susan@Example.com")
    assert message.recipients == ["susan@example.com"]
    assert message.subject == "[Microblog] You already have an account"
    for body in bodies(message):
        assert "/confirm/" not in body
        assert "http://127.0.0.1:8000/login" in body


async def test_a_taken_name_is_said_and_one_that_waits_is_not(app: Quart) -> None:
    await make_user("susan")
    page, sent = await register(Visitor(app), "SUSAN", "new@example.com")
    assert page.errors("username") == ["Please use a different username."]
    assert sent == []
    await register(Visitor(app), "david", "david@example.com")
    page, sent = await register(Visitor(app), "david", "other@example.com")
    assert page.location == "/login"
    assert [m.recipients for m in sent] == [["other@example.com"]]


async def test_of_two_with_one_name_the_first_to_confirm_gets_it(app: Quart) -> None:
    visitor = Visitor(app)
    links = [
        link_to("confirm", (await register(visitor, "david", f"{n}@example.com"))[1][0].body) for n in "ab"
    ]
    assert (await visitor.submit(links[1])).location == "/login"
    assert (await visitor.submit(links[0])).location == "/register"
    async with reading() as connection:
        assert (await connection.scalars(select(User.email))).all() == ["b@example.com"]


async def test_a_link_works_once_for_twenty_at_once(app: Quart) -> None:
    _, [message] = await register(Visitor(app), "susan", "susan@example.com")
    link = link_to("confirm", message.body)
    visitors = [Visitor(app) for _ in range(20)]
    tokens = [(await visitor.get(link)).token for visitor in visitors]
    await asyncio.gather(*(v.post(link, csrf_token=t) for v, t in zip(visitors, tokens, strict=True)))
    said = [(await visitor.get("/login")).flashes[-1] for visitor in visitors]
    assert said.count("Congratulations, you are now a registered user!") == 1
    assert said.count("That link is no longer valid.") == 19
    assert await count(User) == 1


async def test_a_registration_is_over_after_a_day(app: Quart) -> None:
    visitor = Visitor(app)
    _, [message] = await register(visitor, "susan", "susan@example.com")
    async with writing() as session:
        await session.execute(update(Registration).values(expires_at=datetime.now(UTC)))
    page = await visitor.get(link_to("confirm", message.body))
    assert page.location == "/login"
    await register(visitor, "david", "david@example.com")
    assert await count(Registration) == 1


async def test_no_link_and_no_password_is_stored(app: Quart) -> None:
    await register(Visitor(app), "susan", "susan@example.com")
    async with reading() as connection:
        for table in ("outbox", "registration"):
            rows = (await connection.exec_driver_sql(f"SELECT * FROM {table}")).all()
            assert rows
            assert "eyJ" not in repr(rows)
            assert "correct horse" not in repr(rows)


async def test_an_address_is_not_flooded(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emails, "ADDRESS_LIMITS", ((timedelta(hours=1), 2),))
    mails = [len((await register(Visitor(app), f"name{n}", "susan@example.com"))[1]) for n in range(4)]
    assert mails == [1, 1, 0, 0]


async def test_a_link_is_good_for_whoever_follows_it_logged_in_or_not(app: Quart) -> None:
    _, [message] = await register(Visitor(app), "david", "david@example.com")
    link = link_to("confirm", message.body)
    susan, _ = await logged_in(app, "susan")
    assert (await susan.submit(link)).location == "/index"
    assert "Congratulations, you are now a registered user!" in (await susan.get("/index")).flashes
    assert await count(User) == 2
    assert (await susan.get("/confirm/rubbish")).location == "/index"
    assert "no longer valid" in (await susan.get("/index")).text
