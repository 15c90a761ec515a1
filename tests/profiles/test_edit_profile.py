"""Editing a profile."""

from __future__ import annotations

import asyncio

import pytest
from quart import Quart

from tests.clients import Visitor
from tests.factories import PASSWORD, logged_in, make_user


async def test_changes_are_saved_and_shown(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.get("/edit_profile")
    assert page.title == "Edit Profile - Microblog"
    assert 'value="susan"' in page.text
    page = await susan.submit("/edit_profile", username="susanna", about_me="one\r\ntwo <3")
    assert (page.status, page.location) == (302, "/edit_profile")
    page = await susan.get("/edit_profile")
    assert page.flashes == ["Your changes have been saved."]
    assert 'value="susanna"' in page.text
    assert "one\ntwo &lt;3</textarea>" in page.text
    assert (await susan.get("/user/susanna")).title == "susanna - Microblog"
    assert (await susan.get("/user/susan")).status == 404
    assert (await Visitor(app).log_in("SusannA", PASSWORD)).location == "/index"


async def test_about_me_may_be_emptied(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan", about_me="I keep bees")
    await susan.submit("/edit_profile", username="susan", about_me="")
    assert "I keep bees" not in (await susan.get("/user/susan")).text


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("username", "david", "Please use a different username."),
        ("username", "DaVid", "Please use a different username."),
        ("username", "Support", "Please use a different username."),
        ("username", "", "This field is required."),
        ("username", "x" * 65, "Too long by 1: at most 64 characters."),
        ("about_me", "x" * 141, "Too long by 1: at most 140 characters."),
        ("about_me", "a\0b", "This contains a character that cannot be stored."),
    ],
)
async def test_errors_stand_under_their_field(app: Quart, field: str, value: str, message: str) -> None:
    await make_user("david")
    susan, _ = await logged_in(app, "susan")
    fields = {"username": "susan", "about_me": "new"} | {field: value}
    page = await susan.submit("/edit_profile", **fields)
    assert page.status == 200
    assert page.errors(field) == [message]
    assert "new" not in (await susan.get("/user/susan")).text


async def test_the_case_of_ones_own_name_may_change(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    assert (await susan.submit("/edit_profile", username="Susan", about_me="")).status == 302
    assert (await susan.get("/user/susan")).title == "Susan - Microblog"


@pytest.mark.parametrize("name", ["a/b", "..", "ﬁ x", " padded"])
async def test_an_old_name_that_the_rules_refuse_may_stay(app: Quart, name: str) -> None:
    odd = Visitor(app)
    await make_user(name, email="odd@example.com")
    assert (await odd.log_in(name, PASSWORD)).location == "/index"
    page = await odd.submit("/edit_profile", username=name, about_me="still me")
    assert page.location == "/edit_profile", page.errors("username")
    page = await odd.submit("/edit_profile", username="better", about_me="still me")
    assert page.location == "/edit_profile"
    assert (await odd.get("/user/better")).status == 200


async def test_one_of_ten_simultaneous_renames_to_one_name_wins(app: Quart) -> None:
    people = [(await logged_in(app, f"person{number}"))[0] for number in range(10)]
    pages = await asyncio.gather(
        *(person.submit("/edit_profile", username="Star", about_me="") for person in people)
    )
    assert sorted(page.status for page in pages) == [200] * 9 + [302]
    for page in pages:
        if page.status == 200:
            assert page.errors("username") == ["Please use a different username."]
