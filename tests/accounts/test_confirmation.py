"""Registering with CONFIRM_EMAIL on: one answer for every address, and no account before the link."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select, update
from werkzeug.security import generate_password_hash

from app import mail, outbox
from app.accounts import emails
from app.accounts.models import Registration, User
from app.database import reading, writing
from app.quart_mail import Message
from tests.clients import Page, Visitor
from tests.conftest import CHEAP_HASH
from tests.factories import PASSWORD, count, logged_in, make_user
from tests.inspection import bodies, link_to, outbox_of, sent_after, sent_by

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
    assert (await visitor.log_in("susan")).location is None
    assert "susan" in (await visitor.get(link)).text
    assert (await visitor.client.head(link)).status_code == 200
    assert await count(User) == 0
    with mail.record_messages() as sent:
        assert (await visitor.submit(link)).location == "/login"
        await outbox.drain()
    assert sorted(str(m.recipients[0]) for m in sent) == ["admin@example.com", "susan@example.com"]
    assert (await visitor.log_in("susan")).location == "/index"
    assert await count(Registration) == 0


async def test_the_page_a_newcomer_wanted_is_remembered_until_the_address_is_confirmed(app: Quart) -> None:
    visitor = Visitor(app)
    fields = {"username": "susan", "email": "susan@example.com", "password": PASSWORD, "password2": PASSWORD}
    page = await visitor.submit("/register?next=/user/david", **fields)
    assert page.location == "/login?next=/user/david"
    [message] = await sent_by(app)
    page = await visitor.submit(link_to("confirm", message.body))
    assert page.location == "/login?next=/user/david"


CONFIRM_FIRST = "Please confirm your email address first. We have sent the link again."


@pytest.mark.parametrize("typed", ["SUSAN", "Susan@example.com"])
async def test_the_right_password_before_confirming_sends_the_link_again(app: Quart, typed: str) -> None:
    visitor = Visitor(app)
    await register(visitor, "susan", "susan@example.com")
    await visitor.get("/login")
    outbox_of(app).clock = lambda: datetime.now(UTC) + timedelta(minutes=2)  # type: ignore[method-assign]
    page = await visitor.log_in(typed)
    assert page.flashes == [CONFIRM_FIRST]
    assert 'name="password"' in page.text
    [message] = await sent_by(app)
    assert message.recipients == ["susan@example.com"]
    assert (await visitor.submit(link_to("confirm", message.body))).location == "/login"
    assert (await visitor.log_in("susan")).location == "/index"


@pytest.mark.parametrize("typed", ["susan@пример.рф", "SUSAN@ПРИМЕР.РФ"])
async def test_a_registration_is_found_by_its_address_in_any_case_and_script(app: Quart, typed: str) -> None:
    await register(Visitor(app), "susan", "Susan@Пример.рф")
    await register(Visitor(app), "david", "david@straße.example")
    assert (await Visitor(app).log_in(typed)).flashes == [CONFIRM_FIRST]
    assert (await Visitor(app).log_in("david@straße.example")).flashes == [CONFIRM_FIRST]


async def test_a_wrong_password_says_nothing_about_a_waiting_registration(app: Quart) -> None:
    visitor = Visitor(app)
    await register(visitor, "susan", "susan@example.com")
    await visitor.get("/login")
    assert (await visitor.log_in("susan", "wrong horse")).flashes == ["Invalid username or password"]
    assert await sent_by(app) == []


@pytest.mark.parametrize("minutes", [0.5, 23 * 60])
async def test_the_link_is_sent_again_as_often_as_a_reset_link(app: Quart, minutes: float) -> None:
    start, mails = datetime.now(UTC), []
    now = [start]
    outbox_of(app).clock = lambda: now[0]  # type: ignore[method-assign]
    await register(Visitor(app), "susan", "susan@example.com")
    for number in range(1, 13):
        now[0] = start + timedelta(minutes=minutes * number / 12)
        assert (await Visitor(app).log_in("susan")).flashes == [CONFIRM_FIRST]
        mails += await sent_by(app)
    assert len(mails) == (0 if minutes < 1 else 9)


async def test_the_link_that_was_sent_again_is_valid_for_a_whole_day(app: Quart) -> None:
    visitor = Visitor(app)
    await register(visitor, "susan", "susan@example.com")
    soon = datetime.now(UTC) + timedelta(minutes=1)
    async with writing() as session:
        await session.execute(update(Registration).values(expires_at=soon))
    await visitor.log_in("susan")
    async with reading() as connection:
        [expires_at] = (await connection.scalars(select(Registration.expires_at))).all()
    assert expires_at > soon + timedelta(hours=23)


async def test_the_password_of_a_registration_with_a_taken_address_tells_only_its_owner(app: Quart) -> None:
    await make_user("susan")
    visitor = Visitor(app)
    await register(visitor, "other", "susan@example.com")
    await visitor.get("/login")
    assert (await visitor.log_in("other")).flashes == [CONFIRM_FIRST]
    [message] = await sent_after(app, 2)
    assert message.subject == "[Microblog] You already have an account"


async def test_a_registration_does_not_hide_the_account_of_the_same_name(app: Quart) -> None:
    await register(Visitor(app), "susan", "other@example.com")
    await make_user("susan", password_hash=generate_password_hash("battery staple", CHEAP_HASH))
    visitor = Visitor(app)
    assert (await visitor.log_in("susan")).flashes == ["Invalid username or password"]
    assert (await visitor.log_in("susan", "battery staple")).location == "/index"


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


async def test_the_owner_of_a_taken_address_gets_a_notice(app: Quart) -> None:
    await make_user("susan")
    _, [message] = await register(Visitor(app), "other", "Susan@Example.com")
    assert message.recipients == ["susan@example.com"]
    assert message.subject == "[Microblog] You already have an account"
    for body in bodies(message):
        assert "/confirm/" not in body
        assert "http://127.0.0.1:8000/login" in body


async def test_a_taken_name_is_refused_but_a_waiting_one_is_not(app: Quart) -> None:
    await make_user("susan")
    page, sent = await register(Visitor(app), "SUSAN", "new@example.com")
    assert page.errors("username") == ["Please use a different username."]
    assert sent == []
    await register(Visitor(app), "david", "david@example.com")
    page, sent = await register(Visitor(app), "david", "other@example.com")
    assert page.location == "/login"
    assert [m.recipients for m in sent] == [["other@example.com"]]


async def test_the_first_of_two_registrations_to_be_confirmed_gets_the_name(app: Quart) -> None:
    visitor = Visitor(app)
    links = [
        link_to("confirm", (await register(visitor, "david", f"{n}@example.com"))[1][0].body) for n in "ab"
    ]
    assert (await visitor.submit(links[1])).location == "/login"
    assert (await visitor.submit(links[0])).location == "/register"
    async with reading() as connection:
        assert (await connection.scalars(select(User.email))).all() == ["b@example.com"]


async def test_twenty_simultaneous_confirmations_create_one_account(app: Quart) -> None:
    _, [message] = await register(Visitor(app), "susan", "susan@example.com")
    link = link_to("confirm", message.body)
    visitors = [Visitor(app) for _ in range(20)]
    tokens = [(await visitor.get(link)).token for visitor in visitors]
    await asyncio.gather(*(v.post(link, csrf_token=t) for v, t in zip(visitors, tokens, strict=True)))
    said = [(await visitor.get("/login")).flashes[-1] for visitor in visitors]
    assert said.count("Congratulations, you are now a registered user!") == 1
    assert said.count("That link is no longer valid.") == 19
    assert await count(User) == 1


async def test_a_registration_expires_after_a_day(app: Quart) -> None:
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


async def test_a_confirmation_link_works_whether_or_not_the_visitor_is_logged_in(app: Quart) -> None:
    _, [message] = await register(Visitor(app), "david", "david@example.com")
    link = link_to("confirm", message.body)
    susan, _ = await logged_in(app, "susan")
    assert (await susan.submit(link)).location == "/index"
    assert "Congratulations, you are now a registered user!" in (await susan.get("/index")).flashes
    assert await count(User) == 2
    assert (await susan.get("/confirm/rubbish")).location == "/index"
    assert "no longer valid" in (await susan.get("/index")).text
