"""Following and unfollowing."""

from __future__ import annotations

import asyncio

import pytest
from quart import Quart
from sqlalchemy import select

from app.accounts.models import followers
from app.database import reading
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, logged_in, make_follow, make_user
from tests.inspection import READS, recorded


async def follows() -> list[tuple[int, int]]:
    async with reading() as connection:
        rows = await connection.execute(select(followers.c.follower_id, followers.c.followed_id))
        return [tuple(row) for row in rows]


async def press(visitor: Visitor, path: str, page: str = "/index") -> Page:
    """Press a button: send the form with a good token, and open where that leads."""
    answer = await visitor.submit(path, page=page)
    assert answer.status == 302
    assert answer.location is not None
    return await visitor.get(answer.location)


async def test_following_and_unfollowing(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("David")
    answer = await susan.submit("/follow/david", page="/user/david")
    assert answer.location == "/user/David"
    page = await susan.get("/user/David")
    assert page.flashes == ["You are following David!"]
    assert "1 follower" in page.text
    assert await follows() == [(me, david)]
    page = await press(susan, "/unfollow/David", "/user/David")
    assert page.flashes == ["You are not following David."]
    assert "0 followers" in page.text
    assert await follows() == []


async def test_following_twice_changes_nothing(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("david")
    for _ in range(2):
        assert (await press(susan, "/follow/david")).flashes == ["You are following david!"]
    assert await follows() == [(me, david)]
    for _ in range(2):
        assert (await press(susan, "/unfollow/david")).flashes == ["You are not following david."]


@pytest.mark.parametrize(
    ("path", "flash"),
    [
        ("/follow/susan", "You cannot follow yourself!"),
        ("/unfollow/SUSAN", "You cannot unfollow yourself!"),
        ("/follow/nobody", "User nobody not found."),
        ("/unfollow/nobody", "User nobody not found."),
        ("/follow/%00", "User \0 not found."),
        ("/follow/%ED%A0%80", "User \ufffd\ufffd\ufffd not found."),
        ("/follow/" + "x" * 5000, f"User {'x' * 64}… not found."),
    ],
)
async def test_refusals_are_flashed(app: Quart, path: str, flash: str) -> None:
    susan, _ = await logged_in(app, "susan")
    assert (await press(susan, path)).flashes == [flash.replace("\0", "\ufffd")]
    assert await follows() == []


async def test_simultaneous_follows_do_not_fail(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("david")
    token = (await susan.get("/user/david")).token
    for _ in range(3):
        pages = await asyncio.gather(
            *(susan.post(f"/{verb}/david", csrf_token=token) for verb in ["follow", "unfollow"] * 6)
        )
        assert {page.status for page in pages} == {302}
        assert await follows() in ([], [(me, david)])


@pytest.mark.parametrize("verb", ["follow", "unfollow"])
async def test_only_a_post_with_a_token_follows(app: Quart, verb: str) -> None:
    susan, me = await logged_in(app, "susan")
    david, mary = await make_user("david"), await make_user("mary")
    await make_follow(me, mary)
    for name in ("david", "mary"):
        assert (await susan.get(f"/{verb}/{name}")).status == 405
        page = await susan.post(f"/{verb}/{name}", csrf_token="stale")
        assert page.status == 400
        assert "This page has expired. Please go back, reload it and try again." in page.text
    assert await follows() == [(me, mary)]
    assert david not in [pair[1] for pair in await follows()]


async def test_the_login_leads_back_to_the_profile(app: Quart) -> None:
    await make_user("susan")
    await make_user("david")
    visitor = Visitor(app)
    page = await visitor.post("/follow/david")
    assert page.location == "/login?next=/user/david"
    page = await visitor.submit(page.location, username="susan", password=PASSWORD)
    assert page.location == "/user/david"
    assert (await visitor.get("/user/david")).status == 200


@pytest.mark.parametrize("verb", ["follow", "unfollow"])
async def test_a_button_does_not_count_followers(app: Quart, verb: str) -> None:
    susan, _ = await logged_in(app, "susan")
    await make_user("david")
    token = (await susan.get("/user/david")).token
    with recorded() as seen:
        await susan.post(f"/{verb}/david", csrf_token=token)
    reads = [sql for sql in seen if sql.upper().startswith(READS)]
    assert len(reads) == 2  # who presses it, and whom it is about
    assert not any("count(" in sql for sql in seen)
