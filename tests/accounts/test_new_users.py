"""Notices of new users to FLASKY_ADMIN: the first at once, the others together, at most every 10 minutes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart

from app.accounts import service
from app.quart_mail import Message
from tests.clients import Visitor
from tests.factories import make_user
from tests.inspection import bodies, sent_after, sent_by
from tests.outbox.site import rows


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"FLASKY_ADMIN": "admin@example.com"}


async def register(*names: str) -> None:
    for name in names:
        await service.register(username=name, email=f"{name}@example.com", password="violet anchor")


async def notices(app: Quart, minutes: float = 0) -> list[Message]:
    """Deliver the mails that are due `minutes` from now, and return those to the administrator."""
    sent = await sent_after(app, minutes) if minutes else await sent_by(app)
    return [message for message in sent if "New User" in message.subject]


async def test_many_new_users_make_one_mail_at_once_and_a_digest_later(app: Quart) -> None:
    await register("susan")
    [first] = await notices(app)
    assert first.subject == "[Microblog] New User"
    assert "User susan has joined." in bodies(first)[0]
    for tens in range(6):
        await asyncio.gather(*(register(f"user{tens}{n}") for n in range(10 if tens else 7)))
    await Visitor(app).submit("/hello", name="Zoë")
    assert await notices(app) == []
    assert await notices(app, 9) == []
    [digest] = await notices(app, 11)
    assert digest.subject == "[Microblog] New Users"
    for body in bodies(digest):
        assert "58 people have joined: " in body
        assert body.count("user") == 50 + body.count("new users")
        assert "and 8 more." in body
    assert await notices(app, 60) == []


@pytest.mark.parametrize("admin", ["admin@example.com", "Ann Lee <admin@example.com>"])
async def test_the_mail_is_in_the_language_of_the_administrators_account(app: Quart, admin: str) -> None:
    app.config["FLASKY_ADMIN"] = admin
    await make_user("boss", email="Admin@example.com", language="ru")
    await register("susan")
    [message] = [each for each in await sent_by(app) if each.recipients == [admin]]
    assert message.subject == "[Microblog] Новый пользователь"


async def test_a_short_digest_names_everybody(app: Quart) -> None:
    await register("susan")
    await notices(app)
    await register("ann", "ben")
    await Visitor(app).submit("/hello", name="Zoë <3")
    await Visitor(app).submit("/hello", name="Zoë")
    [digest] = await notices(app, 11)
    assert "3 people have joined: ann, ben, Zoë.\n" in bodies(digest)[0]


async def test_a_digest_does_not_name_deleted_accounts(app: Quart) -> None:
    await register("susan")
    await notices(app)
    await register("ann", "ben")
    visitor = Visitor(app)
    await visitor.log_in("ben", "violet anchor")
    await visitor.submit("/delete_account", current="violet anchor", sure="y")
    assert [row.params for row in await rows() if row.kind == "new_user"][1]["names"] == []
    mails = [m for m in await notices(app, 11) if m.recipients == ["admin@example.com"]]
    assert "2 people have joined: ann and 1 more." in bodies(mails[0])[0]


async def test_a_mail_that_was_refused_does_not_delay_the_next(app: Quart) -> None:
    await register("susan")
    app.config["FLASKY_ADMIN"] = "not an address"
    assert await notices(app) == []
    app.config["FLASKY_ADMIN"] = "admin@example.com"
    await register("ann")
    [mail] = await notices(app)
    assert "User ann has joined." in bodies(mail)[0]
