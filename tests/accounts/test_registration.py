"""Registering: valid and invalid input, and unique names under concurrent requests."""

from __future__ import annotations

import asyncio
import re

import pytest
from quart import Quart
from sqlalchemy import select

from app.accounts.models import User
from app.accounts.passwords import Hasher
from app.database import reading
from tests.clients import Visitor
from tests.factories import logged_in
from tests.inspection import bodies, sent_by


async def stored_users() -> list[str]:
    async with reading() as connection:
        return list((await connection.scalars(select(User.username).order_by(User.id))).all())


async def test_a_new_person_is_congratulated_and_can_log_in(app: Quart) -> None:
    visitor = Visitor(app)
    page = await visitor.register("susan")
    assert (page.status, page.location) == (302, "/login")
    page = await visitor.get("/login")
    assert page.flashes == ["Congratulations, you are now a registered user!"]
    assert page.title == "Sign In - Microblog"
    page = await visitor.log_in("susan")
    assert (page.status, page.location) == (302, "/index")
    page = await visitor.get("/index")
    assert page.status == 200
    assert "susan" in page.text


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"username": ""}, "username", "This field is required."),
        ({"email": ""}, "email", "This field is required."),
        ({"password": ""}, "password", "This field is required."),
        ({"password2": ""}, "password2", "This field is required."),
        ({"password2": "other words"}, "password2", "The passwords do not match."),
        ({"email": "not an address"}, "email", "Invalid email address."),
        ({"email": f"{'x' * 64}@{'y' * 60}.example"}, "email", "Too long by 13: at most 120 characters."),
        ({"username": "x" * 65}, "username", "Too long by 1: at most 64 characters."),
        ({"username": ".."}, "username", "Use only letters (A to Z), digits, dots, dashes and underscores. Start with a letter or a digit."),
        ({"username": "a/b"}, "username", "Use only letters (A to Z), digits, dots, dashes and underscores. Start with a letter or a digit."),
        ({"username": "сусан"}, "username", "Use only letters (A to Z), digits, dots, dashes and underscores. Start with a letter or a digit."),
        ({"username": "su\0san"}, "username", "This contains a character that cannot be stored."),
        ({"password": "short", "password2": "short"}, "password", "Too short: at least 8 characters."),
        ({"password": "x" * 257, "password2": "x" * 257}, "password", "Too long by 1: at most 256 characters."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_wrong_field_is_explained_under_it(
    app: Quart, fields: dict[str, str], field: str, message: str
) -> None:
    good = {
        "username": "susan",
        "email": "susan@example.com",
        "password": "correct horse",
        "password2": "correct horse",
    }
    page = await Visitor(app).submit("/register", **(good | fields))
    assert page.status == 200
    assert page.errors(field) == [message]
    assert await stored_users() == []


@pytest.mark.parametrize("username", ["susan", "SUSAN", "ｓｕｓａｎ"])
async def test_a_name_is_taken_whatever_its_case(app: Quart, username: str) -> None:
    visitor = Visitor(app)
    await visitor.register("susan")
    page = await visitor.submit(
        "/register",
        username=username,
        email="other@example.com",
        password="correct horse",
        password2="correct horse",
    )
    assert page.errors("username") == ["Please use a different username."]
    assert page.errors("email") == []
    assert 'value="other@example.com"' in page.text


@pytest.mark.parametrize("username", ["admin", "Administrator", "r.o.o.t", "no-reply", "ＡＤＭＩＮ", "me"])
async def test_a_reserved_name_is_refused(app: Quart, username: str) -> None:
    page = await Visitor(app).register(username)
    assert page.errors("username") == ["Please use a different username."]
    assert await stored_users() == []


async def test_an_account_keeps_a_name_that_was_reserved_later(app: Quart) -> None:
    admin, _ = await logged_in(app, "admin")
    page = await admin.submit("/edit_profile", username="admin", about_me="I was here first")
    assert page.location == "/edit_profile"
    assert "I was here first" in (await admin.get("/user/admin")).text


@pytest.mark.parametrize("email", ["susan@example.com", "Susan@EXAMPLE.com"])
async def test_an_address_is_taken_whatever_its_case(app: Quart, email: str) -> None:
    visitor = Visitor(app)
    await visitor.register("susan")
    page = await visitor.submit(
        "/register", username="other", email=email, password="correct horse", password2="correct horse"
    )
    assert page.errors("username") == []
    assert page.errors("email") == ["Please use a different email address."]


@pytest.mark.parametrize("processes", [0, 2])
async def test_fifty_at_once_make_one_account_and_forty_nine_polite_errors(
    app: Quart, processes: int
) -> None:
    app.extensions["passwords"] = hasher = Hasher(processes)
    visitors = [Visitor(app) for _ in range(50)]
    pages = await asyncio.gather(*(visitor.register("susan") for visitor in visitors))
    await hasher.close()
    assert sorted(page.status for page in pages) == [200] * 49 + [302]
    refused = [page for page in pages if page.status == 200]
    assert all(page.errors("username") == ["Please use a different username."] for page in refused)
    assert await stored_users() == ["susan"]


async def test_full_width_letters_are_normalized(app: Quart) -> None:
    await Visitor(app).register("ｓｕｓａｎ")
    assert await stored_users() == ["susan"]


async def test_a_logged_in_visitor_is_sent_to_the_timeline(app: Quart) -> None:
    visitor = Visitor(app)
    await visitor.register("susan")
    await visitor.log_in("susan")
    for path in ("/register", "/login", "/reset_password_request"):
        page = await visitor.get(path)
        assert (page.status, page.location) == (302, "/index")


LIGATURES = "\ufdfa" * 60 + "@example.com"  # each folds to 18 letters


@pytest.mark.parametrize("path", ["/register", "/reset_password_request"])
async def test_an_address_that_grows_when_folded_is_refused_in_words(app: Quart, path: str) -> None:
    fields = {"username": "susan", "password": "correct horse", "password2": "correct horse"}
    page = await Visitor(app).submit(path, email=LIGATURES, **fields)
    assert page.status == 200
    assert page.errors("email") == ["Invalid email address."]


async def test_a_local_part_that_mail_servers_refuse_is_refused(app: Quart) -> None:
    fields = {"username": "susan", "password": "correct horse", "password2": "correct horse"}
    page = await Visitor(app).submit("/register", email=f"{'a' * 65}@example.com", **fields)
    assert page.errors("email") == ["The part before the @ is too long: at most 64 characters."]
    page = await Visitor(app).submit("/register", email=f"{'a' * 64}@example.com", **fields)
    assert page.location == "/login"


async def test_a_new_account_is_welcomed_once(app: Quart) -> None:
    await Visitor(app).register("susan")
    [message] = await sent_by(app)
    assert message.subject == "[Microblog] Welcome to Microblog"
    assert message.recipients == ["susan@example.com"]
    text, rich = bodies(message)
    assert "http://127.0.0.1:8000/explore" in text
    assert rich.count('class="button"') == 1
    assert await sent_by(app) == []


async def test_a_deleted_account_is_not_welcomed(app: Quart) -> None:
    visitor = Visitor(app)
    await visitor.register("susan")
    await visitor.log_in("susan")
    await visitor.submit("/delete_account", current="correct horse", sure="y")
    assert "[Microblog] Welcome to Microblog" not in [message.subject for message in await sent_by(app)]


async def test_names_and_passwords_are_typed_verbatim(app: Quart) -> None:
    page = await Visitor(app).get("/register")
    tags = re.findall(r"<input[^>]* autocomplete=[^>]*>", page.text)
    assert re.findall(r'name="(\w+)"', "".join(tags)) == ["username", "email", "password", "password2"]
    assert all('autocapitalize="none" spellcheck="false"' in tag for tag in tags)
    assert page.text.count('type="button" aria-controls="password') == 2
