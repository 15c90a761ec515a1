"""The greeting page."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select

from app import create_app, mail, outbox
from app.database import reading
from app.greeting import NAME_RULE, Greeted
from tests.clients import Visitor
from tests.inspection import bodies, database_of


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"FLASKY_ADMIN": "admin@example.com"}


async def names() -> list[str]:
    async with reading() as connection:
        return list((await connection.execute(select(Greeted.name))).scalars())


async def test_a_visitor_without_a_name_is_a_stranger(app: Quart) -> None:
    page = await Visitor(app).get("/hello")
    assert page.title == "Hello - Microblog"
    assert "Hello, Stranger!" in page.text
    assert "What is your name?" in page.text
    assert "Pleased to meet you!" not in page.text


async def test_a_new_name_is_greeted_stored_and_mailed(app: Quart) -> None:
    visitor = Visitor(app)
    with mail.record_messages() as sent:
        page = await visitor.submit("/hello", name="Susan O'Neil")
        assert (page.status, page.location) == (302, "/hello")
        await outbox.drain()
    page = await visitor.get("/hello")
    assert "Hello, Susan O&#39;Neil!" in page.text
    assert "Pleased to meet you!" in page.text
    assert await names() == ["Susan O'Neil"]
    [message] = sent
    assert message.subject == "[Microblog] New User"
    assert message.recipients == ["admin@example.com"]
    text, html = bodies(message)
    assert "User Susan O'Neil has joined." in text
    assert "User Susan O&#39;Neil has joined." in html


async def test_a_known_name_is_welcomed_back_without_a_mail(app: Quart) -> None:
    await Visitor(app).submit("/hello", name="Susan")
    await outbox.drain()
    visitor = Visitor(app)
    with mail.record_messages() as sent:
        await visitor.submit("/hello", name=" Susan ")
        await outbox.drain()
    page = await visitor.get("/hello")
    assert "Hello, Susan!" in page.text
    assert "Happy to see you again!" in page.text
    assert sent == []


async def test_a_name_is_new_only_once_among_simultaneous_requests(app: Quart) -> None:
    visitors = [Visitor(app) for _ in range(8)]
    with mail.record_messages() as sent:
        await asyncio.gather(*(visitor.submit("/hello", name="Susan") for visitor in visitors))
        await outbox.drain()
    texts = [(await visitor.get("/hello")).text for visitor in visitors]
    assert sum("Pleased to meet you!" in text for text in texts) == 1
    assert sum("Happy to see you again!" in text for text in texts) == 7
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "This field is required."),
        ("  ", "This field is required."),
        ("x" * 65, "Too long by 1: at most 64 characters."),
        ("a\0b", "This contains a character that cannot be stored."),
        ("http://e.example/", NAME_RULE),
        ("e.example", NAME_RULE),
        ("www.e.example", NAME_RULE),
        ("me@e.example", NAME_RULE),
        ("Susan <3", NAME_RULE),
        ("Call +49 30 901820", NAME_RULE),
        ("Susan\u202egnp", NAME_RULE),
    ],
)
async def test_an_invalid_name_is_refused_under_the_field(app: Quart, name: str, message: str) -> None:
    page = await Visitor(app).submit("/hello", name=name)
    assert page.errors("name") == [message]
    assert await names() == []


@pytest.mark.parametrize(
    "name",
    [
        "Susan",
        "Dr. Susan O'Neil-Smith Jr.",
        "J. R. R. Tolkien",
        "J.R.R. Tolkien",
        "’t Hooft",
        "Zoë",
        "Zoe\u0308",
        "सुसान",
        "王小明",
        "Dave2",
        "x" * 64,
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_names_of_all_languages_are_accepted(app: Quart, name: str) -> None:
    assert (await Visitor(app).submit("/hello", name=name)).location == "/hello"
    assert await names() == [name]


async def test_one_peer_gives_a_few_names_an_hour(config: dict[str, Any]) -> None:
    site = create_app(config | {"RATELIMIT_ENABLED": True})
    async with site.app_context():
        statuses = [
            (await Visitor(site).submit("/hello", name=f"Susan {'I' * n}")).status for n in range(1, 23)
        ]
        assert statuses == [302] * 20 + [429] * 2
        assert len(await names()) == 20
    await database_of(site).dispose()


async def test_without_an_admin_no_mail_is_sent(config: dict[str, Any], app: Quart) -> None:
    app.config["FLASKY_ADMIN"] = None
    visitor = Visitor(app)
    with mail.record_messages() as sent:
        await visitor.submit("/hello", name="Susan")
        await outbox.drain()
    assert "Hello, Susan!" in (await visitor.get("/hello")).text
    assert sent == []
