"""The demo data: accounts, posts and follows."""

from __future__ import annotations

from pathlib import Path

import pytest
from quart import Quart

from app.accounts.models import User, followers
from app.dev import demo
from app.posts.models import BODY_LENGTH, Post
from tests.clients import Browser, Visitor
from tests.factories import count, make_user
from tests.processes import dev_site


async def test_the_demo_has_people_posts_and_follows(app: Quart) -> None:
    assert await demo.fill()
    visitor = Visitor(app)
    assert (await visitor.log_in(demo.USERNAME, demo.PASSWORD)).location == "/index"
    page = await visitor.get("/index")
    assert page.text.count('class="post"') > 5
    page = await visitor.get("/explore")
    assert page.text.count('class="post"') == 25
    assert "Older posts" in page.text
    for name in demo.PEOPLE:
        assert (await visitor.get(f"/user/{name}")).status == 200
    assert all(len(body) <= BODY_LENGTH for _, _, body, *_ in demo.POSTS)
    answered = {parent for _, _, _, *parents in demo.POSTS for parent in parents}
    assert all(any(body.startswith(parent) for _, _, body, *_ in demo.POSTS) for parent in answered)
    languages = [f'class="body" dir="auto" lang="{code}"' for code in ("ru", "es", "zh")]
    parts = ("In reply to", 'href="/user/oskar">@oskar</a>', "/search?q=%23Leonids", "3 replies")
    for part in (*languages, *parts):
        assert part in (await visitor.get("/explore")).text + (await visitor.get("/user/mary.okafor")).text


async def test_a_second_start_changes_nothing(app: Quart) -> None:
    await demo.fill()
    before = [await count(table) for table in (User, Post, followers)]
    assert await demo.fill()
    assert [await count(table) for table in (User, Post, followers)] == before


async def test_with_a_taken_name_nothing_is_added(app: Quart) -> None:
    await make_user("Susan")
    assert not await demo.fill()
    assert await count(User) == 1


OWN = "correct horse battery"


async def test_with_a_taken_address_nothing_is_added(app: Quart) -> None:
    await make_user("elsewhere", email="David@example.com")
    assert not await demo.fill()
    assert await count(User) == 1


@pytest.mark.slow
async def test_the_demo_is_separate_from_the_accounts_of_dev_and_says_how_to_log_in(tmp_path: Path) -> None:
    async with dev_site(tmp_path) as site:
        fields = {"username": "susan", "email": "susan@example.com"}
        await Browser(site.url).submit("/register", **fields, password=OWN, password2=OWN)
    async with dev_site(tmp_path, "--demo") as site:
        browser = Browser(site.url)
        await browser.submit("/login", username=demo.USERNAME, password=demo.PASSWORD)
        assert "Hi, susan!" in await browser.get("/index")
        assert f"log in as {demo.USERNAME} with the password: {demo.PASSWORD}" in site.greeting
