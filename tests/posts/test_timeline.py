"""Which posts a page shows, in which order, and how pages are linked."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart
from sqlalchemy import delete

from app.database import writing
from app.posts.models import Post
from tests.clients import bodies
from tests.factories import logged_in, make_follow, make_post, make_user
from tests.inspection import database_of


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"POSTS_PER_PAGE": 3}


async def test_the_timeline_has_ones_own_and_followed_posts_newest_first(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david, mary = await make_user("david"), await make_user("mary")
    await make_follow(me, david)
    await make_follow(mary, me)
    await make_post(david, "second", minute=2)
    await make_post(me, "third", minute=3)
    await make_post(mary, "not followed", minute=4)
    await make_post(me, "first", minute=1)
    assert bodies(await susan.get("/index")) == ["third", "second", "first"]
    assert bodies(await susan.get("/explore")) == ["not followed", "third", "second"]


async def test_pages_reach_every_post_once_in_both_directions(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    david = await make_user("david")
    await make_follow(me, david)
    for number in range(8):  # posts of one instant too: the id decides
        await make_post((me, david)[number % 2], f"post {number}", minute=number // 3)
    expected = [["post 7", "post 6", "post 5"], ["post 4", "post 3", "post 2"], ["post 1", "post 0"]]
    for path in ("/index", "/explore"):
        pages = await susan.walk(path)
        assert [bodies(page) for page in pages] == expected
        assert "Older posts" in pages[0].text
        assert "Newer posts" in pages[-1].text
        pages = await susan.walk(pages[-1].paging["prev"], "prev")
        assert [bodies(page) for page in pages] == expected[-2::-1]
    pages = await susan.walk("/user/david")
    assert [bodies(page) for page in pages] == [["post 7", "post 5", "post 3"], ["post 1"]]


async def test_the_first_page_has_no_newer_and_the_last_no_older_posts(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    for number in range(3):
        await make_post(me, f"post {number}", minute=number)
    page = await susan.get("/explore")
    assert page.paging == {}


async def test_a_new_post_does_not_shift_the_pages(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    for number in range(5):
        await make_post(me, f"post {number}", minute=number)
    older = (await susan.get("/explore")).paging["next"]
    await make_post(me, "breaking news", minute=9)
    page = await susan.get(older)
    assert bodies(page) == ["post 1", "post 0"]
    page = await susan.get(page.paging["prev"])
    assert bodies(page) == ["post 4", "post 3", "post 2"]
    assert "prev" in page.paging


async def test_a_cursor_whose_post_was_deleted_still_works(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    ids = [await make_post(me, f"post {number}", minute=number) for number in range(5)]
    older = (await susan.get("/explore")).paging["next"]
    async with writing() as session:
        await session.execute(delete(Post).where(Post.id == ids[2]))
    assert bodies(await susan.get(older)) == ["post 1", "post 0"]


NONSENSE = [
    "x",
    "0",
    "-1",
    "%00",
    "%ED%A0%80",
    "A" * 5000,
    "%D9%A1%D9%A2",  # digits, but not ASCII's
    "1_0",
    "MjAyNi0xMS0yMCAxMjowMDowMH4",  # a time without an id
    "bm93fjE",  # "now~1"
    "OTk5OS0xMi0zMX45OTk5OTk5OTk5OTk5OTk5OTk5OTk",  # an id beyond any integer
]
OUT_OF_RANGE = [
    "MDAwMS0wMS0wMX4x",  # the year 1, before every post
    "MjAwMS0xMS0yMCAxMjowMDowMCswMDowMH4x",  # with a time zone
]


@pytest.mark.parametrize("path", ["/index", "/explore", "/user/susan"])
async def test_a_made_up_cursor_shows_the_first_page(app: Quart, path: str) -> None:
    susan, me = await logged_in(app, "susan")
    for number in range(5):
        await make_post(me, f"post {number}", minute=number)
    queries = [f"{side}={cursor}" for side in ("before", "after") for cursor in NONSENSE]
    queries += [f"before={cursor}" for cursor in OUT_OF_RANGE] + ["before=&after=", "page=2"]
    for query in queries:
        assert bodies(await susan.get(f"{path}?{query}")) == ["post 4", "post 3", "post 2"], query


async def test_times_without_fractions_are_paged_too(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    async with database_of(app).writing() as session:
        for number in range(5):
            await (await session.connection()).exec_driver_sql(
                "INSERT INTO post (body, timestamp, user_id) "
                f"VALUES ('row {number}', '2026-11-20 12:00:00', {me})"
            )
    pages = await susan.walk("/index")
    assert [bodies(page) for page in pages] == [["row 4", "row 3", "row 2"], ["row 1", "row 0"]]


@pytest.mark.parametrize("path", ["/index", "/explore", "/user/susan"])
async def test_a_page_without_posts_says_so(app: Quart, path: str) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.get(path)
    assert page.status == 200
    assert 'class="empty"' in page.text
