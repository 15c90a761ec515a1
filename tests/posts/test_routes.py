"""Creating a post: what is stored, and what the page shows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from quart import Quart
from sqlalchemy import select, update

from app.database import reading, writing
from app.posts.models import Post
from app.posts.service import REPEATED_WITHIN, AuthorDeletedError, create_post, delete_post
from tests.clients import Visitor
from tests.factories import logged_in, make_post, make_user


async def stored() -> list[str]:
    async with reading() as connection:
        return list((await connection.execute(select(Post.body).order_by(Post.id))).scalars())


@pytest.mark.parametrize("path", ["/", "/index"])
async def test_a_post_is_stored_and_shown(app: Quart, path: str) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.submit(path, post="Hello, world!")
    assert (page.status, page.location) == (302, "/index")
    page = await susan.get("/index")
    assert page.title == "Home - Microblog"
    assert page.flashes == ["Your post is now live!"]
    assert "Hi, susan!" in page.text
    assert 'dir="auto">Hello, world!</p>' in page.text
    assert await stored() == ["Hello, world!"]


@pytest.mark.parametrize(
    "body",
    [
        "x" * 140,
        "\N{PARTY POPPER}" * 140,
        "שלום עולם",  # right to left
        "one\ntwo",
        "<b>not bold</b> & 'quoted' \"twice\"",
    ],
)
async def test_text_is_stored_as_typed(app: Quart, body: str) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.submit("/index", post=body)
    assert page.location == "/index"
    assert await stored() == [body]
    assert "<b>" not in (await susan.get("/index")).text


@pytest.mark.parametrize(
    ("body", "chosen", "language"),
    [
        ("Привет, Quart!", "ru", "ru"),
        ("Hola, 世界", "es", "es"),
        ("你好", "zh", "zh"),
        ("12:30 :-)", "ru", "ru"),  # no letters
        ("Hello!", "ru", None),
        ("Привет!", "zh", None),
        ("Hallo!", "", None),  # another language
        ("Hello!", "de", None),  # not one of LANGUAGES
        ("Hello!", "\0" * 99, None),
    ],
)
async def test_the_language_of_a_post_is_stored_unless_its_script_is_another_one(
    app: Quart, body: str, chosen: str, language: str | None
) -> None:
    susan, _ = await logged_in(app, "susan")
    assert (await susan.submit("/index", post=body, language=chosen)).location == "/index"
    async with reading() as connection:
        assert await connection.scalar(select(Post.language)) == language
    text = (await susan.get("/explore")).text
    assert (f'<p class="body" dir="auto" lang="{language}">' in text) is (language is not None)


async def test_the_box_offers_the_language_of_the_page(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    assert '<option value="en" lang="en" selected>English</option>' in (await susan.get("/index")).text
    await susan.submit("/language", language="ru")
    assert '<option value="ru" lang="ru" selected>Русский</option>' in (await susan.get("/index")).text
    page = await susan.submit("/index", post="x" * 141, language="")
    assert '<option value="" selected>' in page.text


@pytest.mark.parametrize("line_break", ["\n", "\u2028"])
async def test_a_post_of_more_than_ten_lines_is_folded(app: Quart, line_break: str) -> None:
    susan, _ = await logged_in(app, "susan")
    lines = [f"line {number}" for number in range(1, 12)]
    await susan.submit("/index", post=line_break.join(lines[:10]))
    assert '<details class="fold"' not in (await susan.get("/index")).text
    await susan.submit("/index", post=line_break.join(lines))
    await susan.submit("/edit_profile", username="susan", about_me="\n".join(lines))
    for path in ("/index", "/explore", "/user/susan"):
        page = (await susan.get(path)).text
        shown, _, folded = page.partition('<details class="fold"')
        assert "line 10" in shown
        assert "line 11" not in shown
        assert "Show more" in folded
        assert 'dir="auto">line 11</p></details>' in folded


async def test_a_line_break_counts_as_one_character(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    assert (await susan.submit("/index", post="x" * 69 + "\r\n" + "y" * 70)).status == 302
    assert await stored() == ["x" * 69 + "\n" + "y" * 70]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "This field is required."),
        (" \n ", "This field is required."),
        ("\u200b\u2060\u00ad", "This field is required."),  # invisible
        ("x" * 141, "Too long by 1: at most 140 characters."),
        ("a\0b", "This contains a character that cannot be stored."),
    ],
)
async def test_an_invalid_post_is_refused_under_its_field(app: Quart, body: str, message: str) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.submit("/index", post=body)
    assert page.status == 200
    assert page.errors("post") == [message]
    assert await stored() == []


async def test_a_stale_token_keeps_the_input(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.post("/index", post="worth keeping", csrf_token="stale")
    assert page.status == 400
    assert "worth keeping</textarea>" in page.text
    assert await stored() == []


async def test_strangers_see_the_front_page_without_a_reproach_and_without_posts(app: Quart) -> None:
    await make_post(await make_user("susan"), "for members only")
    visitor = Visitor(app)
    page = await visitor.get("/")
    assert (page.status, page.title, page.flashes) == (200, "Microblog", [])
    for expected in (
        '<a class="button" href="/register">Create an account</a>',
        'href="/login">Sign in</a>',
        'property="og:title"',
        'property="og:url" content="http://127.0.0.1:8000/"',
        'property="og:image" content="http://127.0.0.1:8000/static/card.',
    ):
        assert expected in page.text
    assert "for members only" not in page.text
    assert (await visitor.get("/login")).flashes == []


@pytest.mark.parametrize("path", ["/index", "/explore"])
async def test_anonymous_visitors_are_sent_to_the_login(app: Quart, path: str) -> None:
    visitor = Visitor(app)
    page = await visitor.get(path)
    assert page.status == 302
    assert page.location == f"/login?next={path}"
    assert "Please log in to access this page." in (await visitor.get("/login")).flashes


async def test_a_post_of_an_account_deleted_meanwhile_is_not_stored(app: Quart) -> None:
    with pytest.raises(AuthorDeletedError):
        await create_post(4711, "hello")
    assert await stored() == []


async def test_a_post_sent_after_the_session_ended_says_that_nothing_was_saved(app: Quart) -> None:
    visitor = Visitor(app)
    page = await visitor.post("/index", post="a long thought")
    assert page.location == "/login?next=/index"
    assert (await visitor.get("/login")).flashes == [
        "You had been logged out, so what you sent was not saved.",
        "Please log in to access this page.",
    ]


@pytest.mark.parametrize("is_reply", [False, True])
async def test_a_form_that_is_sent_several_times_makes_one_post(app: Quart, is_reply: bool) -> None:
    susan, _ = await logged_in(app, "susan")
    david = await make_user("david")
    original = await make_post(david, "original")
    path, target = (f"/post/{original}/reply", f"/post/{original}") if is_reply else ("/index", "/index")
    token = (await susan.get(f"/post/{original}")).token
    pages = await asyncio.gather(*(susan.post(path, post="once", csrf_token=token) for _ in range(8)))
    assert [page.location for page in pages] == [target] * 8
    assert await stored() == ["original", "once"]
    async with reading() as connection:
        assert await connection.scalar(select(Post.replies).where(Post.id == original)) == is_reply
    message = "Your reply is now live!" if is_reply else "Your post is now live!"
    assert set((await susan.get("/index")).flashes) == {message}


async def test_the_same_text_is_another_post_if_anything_else_differs(app: Quart) -> None:
    me, david = await make_user("susan"), await make_user("david")
    first = await create_post(me, "hello")
    others = [
        await create_post(david, "hello"),
        await create_post(me, "Hello"),
        await create_post(me, "hello", reply_to=first),
    ]
    assert await create_post(me, "hello") == first
    async with writing() as session:
        earlier = datetime.now(UTC) - REPEATED_WITHIN
        await session.execute(update(Post).where(Post.id == first).values(timestamp=earlier))
    others.append(await create_post(me, "hello"))
    await delete_post(me, others[-1])
    others.append(await create_post(me, "hello"))
    assert len({first, *others}) == 6
