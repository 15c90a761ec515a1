"""Only short text is normalized, because CPython takes quadratic time."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

import pytest
from quart import Quart

from app.accounts import tokens
from app.accounts.names import MAX_NORMALIZED_LENGTH
from tests.clients import Visitor
from tests.factories import logged_in, make_user

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

MARKS = "\u0315" * 2_500 + "\u0334" * 2_500
IN_ADDRESS = quote(MARKS[1_900:3_100])
"""A mark takes 6 bytes there, and the longest address has 8000."""

FIELD = re.compile(r'<(?:input|textarea)[^>]* name="(\w+)"')
GOOD = {
    "username": "david",
    "email": "david@example.com",
    "password": "battery staple",
    "password2": "battery staple",
    "current": "wrong horse",
    "name": "David",
    "post": "hello",
    "about_me": "here",
    "sure": "y",
}


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all texts that were normalised, whoever asked for it."""
    lengths: list[int] = []
    normalize = unicodedata.normalize

    def note(form: str, text: str) -> str:
        lengths.append(len(text))
        assert len(text) <= MAX_NORMALIZED_LENGTH, "this takes seconds"
        return normalize(form, text)  # type: ignore[arg-type]

    monkeypatch.setattr(unicodedata, "normalize", note)
    return lengths


async def fields_of(visitor: Visitor, path: str) -> list[str]:
    """Return the names of what can be filled in at `path`."""
    return sorted(set(FIELD.findall((await visitor.get(path)).text)) & GOOD.keys())


@pytest.mark.parametrize(
    "path", ["/login", "/register", "/reset_password_request", "/reset_password/", "/hello"]
)
async def test_forms_for_guests_do_not_fold_texts_that_are_too_long(
    app: Quart, folded: list[int], path: str
) -> None:
    if path == "/reset_password/":
        user_id = await make_user("susan", credentials_version=0)
        path += tokens.mint(tokens.RESET, user_id, 0, expires_in=600)
    await check_every_field(Visitor(app), path, folded)


@pytest.mark.parametrize(
    "path", ["/edit_profile", "/change_password", "/change_email", "/delete_account", "/index"]
)
async def test_forms_for_members_do_not_fold_texts_that_are_too_long(
    app: Quart, folded: list[int], path: str
) -> None:
    visitor, _ = await logged_in(app, "susan")
    await check_every_field(visitor, path, folded)


async def check_every_field(visitor: Visitor, path: str, folded: list[int]) -> None:
    names = await fields_of(visitor, path)
    assert names
    for name in names:
        page = await visitor.submit(path, **{**GOOD, name: MARKS})
        if name == "sure":
            continue
        assert page.status == 200, name
        assert len(page.errors(name)) == 1, name
        assert name in {"password", "password2", "current"} or MARKS in page.text
    assert max(folded, default=0) <= MAX_NORMALIZED_LENGTH


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", f"/user/{IN_ADDRESS}"),
        ("get", f"/user/?name={IN_ADDRESS}"),
        ("submit", f"/follow/{IN_ADDRESS}"),
        ("submit", f"/unfollow/{IN_ADDRESS}"),
        ("get", f"/login?next=/{IN_ADDRESS}"),
        ("get", f"/index?before={IN_ADDRESS}"),
    ],
)
async def test_a_long_address_is_not_folded(app: Quart, folded: list[int], method: str, path: str) -> None:
    visitor, _ = await logged_in(app, "susan")
    more = {"page": "/index"} if method == "submit" else {}
    page = await getattr(visitor, method)(path, **more)
    assert page.status in {200, 302, 404}
    assert max(folded, default=0) <= MAX_NORMALIZED_LENGTH


async def test_a_wrong_length_is_explained_in_one_sentence(app: Quart) -> None:
    """Rules for what a text holds are not asked about one that is too long."""
    page = await Visitor(app).submit("/register", **(GOOD | {"username": "é" * 65}))
    assert page.errors("username") == ["Too long by 1: at most 64 characters."]
