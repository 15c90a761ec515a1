"""Profile pages and avatars, for every name that a database may contain."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import md5, new
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from quart import Quart
from sqlalchemy import delete, update

from app import create_app
from app.accounts.models import LoginSession, User
from app.accounts.names import avatar_url, person_path
from app.database import writing
from tests.clients import Visitor
from tests.factories import logged_in, make_follow, make_post, make_user
from tests.inspection import database_of, statements_of

PAGES = ("/index", "/explore", "/user/susan")
AVATAR = re.compile(r'<img src="/avatar/(\w+)-S\.svg"')


async def test_a_profile_shows_the_person(app: Quart) -> None:
    susan, me = await logged_in(app, "susan")
    seen = datetime(2026, 11, 19, 8, 30, tzinfo=UTC)
    david = await make_user("david", about_me="I like <tea>.", last_seen=seen)
    await make_follow(me, david)
    await make_post(david, "Hello")
    page = await susan.get("/user/david")
    assert page.status == 200
    assert page.title == "david - Microblog"
    for expected in (
        "User: david",
        "I like &lt;tea&gt;.",
        "19 Nov 2026, 08:30 UTC",
        "1 follower",
        'src="/avatar/',
        ">Unfollow</button>",
        'dir="auto">Hello</p>',
    ):
        assert expected in page.text
    assert "/edit_profile" not in page.text


async def test_ones_own_profile_links_to_its_form(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.get("/user/susan")
    assert 'href="/edit_profile"' in page.text
    assert "Follow</button>" not in page.text
    assert "0 followers" in page.text


async def test_names_ignore_case(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    await make_user("David")
    assert (await susan.get("/user/dAVID")).title == "David - Microblog"


async def test_names_that_differ_only_by_case_each_have_a_page(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    await make_user("david")
    twin = await make_user("twin", username_canonical=None)
    async with database_of(app).writing() as session:
        await (await session.connection()).exec_driver_sql(
            f"UPDATE \"user\" SET username = 'David', username_canonical = NULL WHERE id = {twin}"
        )
    assert (await susan.get("/user/david")).title == "david - Microblog"
    assert (await susan.get("/user/David")).title == "David - Microblog"
    assert (await susan.get("/user/DAVID")).title == "david - Microblog"


@pytest.mark.parametrize(
    "name", ["nobody", "%00", "a%00b", "%ED%A0%80", "%FF", "x" * 5000, "%2e%2e", "a%2Fb", "%0d%0aX:y"]
)
async def test_unknown_names_are_not_found(app: Quart, name: str) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.get(f"/user/{name}")
    assert page.status == 404
    assert "Not Found" in page.text
    assert (await susan.get(f"/user/?name={name}")).status == 404
    assert (await susan.get("/user/")).status == 404


ODD_NAMES = ["a/b", "..", ".", "a//b", "/a", "a/../b", "login", "x" * 64, "a b", "50%", "ü?#&+", "a\\b", "<i>", "שלום"]  # fmt: skip


async def test_unusual_names_of_old_databases_have_working_pages_and_buttons(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    for number, name in enumerate(ODD_NAMES):
        user_id = await make_user(name, email=f"odd{number}@example.com")
        await make_post(user_id, "said something", minute=number)
    text = (await susan.get("/explore")).text.partition("<aside")[0]
    links = [unescape(link) for link in re.findall(r'<a href="(/user/[^"]*)" dir="auto">', text)]
    assert len(links) == len(ODD_NAMES)
    for name, link in zip(reversed(ODD_NAMES), links, strict=True):
        page = await susan.get(link)
        assert page.title == f"{name} - Microblog"
        [action] = map(unescape, re.findall(r'class="actions" action="([^"]+)"', page.text))
        assert action == person_path("follow", name)
        page = await susan.post(action, csrf_token=page.token)
        assert page.location is not None
        page = await susan.get(page.location)
        assert page.flashes == [f"You are following {name}!"]
        assert "1 follower<" in page.text


@pytest.mark.parametrize("name", ["a/b", "..", "a\\b"])
async def test_encoded_names_in_the_path_are_found(app: Quart, name: str) -> None:
    susan, _ = await logged_in(app, "susan")
    await make_user(name, email="odd@example.com")
    assert (await susan.get(f"/user/{quote(name, safe='')}")).title == f"{name} - Microblog"


async def test_anonymous_visitors_are_sent_to_the_login(app: Quart) -> None:
    page = await Visitor(app).get("/user/susan")
    assert page.location == "/login?next=/user/susan"


class TestGravatar:
    """Avatars of Gravatar."""

    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"AVATARS": "gravatar"}

    async def test_pages_show_avatars_of_gravatar(self, app: Quart) -> None:
        susan, me = await logged_in(app, "susan")
        await make_post(me, "Hello")
        digest = md5(b"susan@example.com", usedforsecurity=False).hexdigest()
        for path, size in (("/explore", 48), ("/user/susan", 128)):
            url = f"https://www.gravatar.com/avatar/{digest}?d=identicon&amp;s={size}"
            page = await susan.get(path)
            assert f'<img src="{url}"' in page.text
            policy = page.response.headers["Content-Security-Policy"]
            assert "img-src 'self' https://www.gravatar.com;" in policy


class TestLocalAvatars:
    """Avatars drawn by the site instead of Gravatar."""

    async def test_names_of_avatars_reveal_nothing_about_the_address(self, app: Quart) -> None:
        susan, me = await logged_in(app, "susan")
        await make_post(me, "Hello")
        address = b"susan@example.com"
        digests = {
            new(name, address, usedforsecurity=False).hexdigest() for name in ("md5", "sha1", "sha256")
        }
        names = {digest[:length] for digest in digests for length in (32, 40, 64)}
        shown = {name for path in PAGES for name in AVATAR.findall((await susan.get(path)).text)}
        assert len(shown) == 1
        assert not shown & names
        async with writing() as session:
            await session.execute(update(User).values(email="other@example.com"))
        assert set(AVATAR.findall((await susan.get("/explore")).text)) == shown

    async def test_names_of_avatars_are_bound_to_the_secret_key(
        self, app: Quart, config: dict[str, Any]
    ) -> None:
        mine = avatar_url(1, "susan", "susan@example.com", 48)
        other = create_app(config | {"SECRET_KEY": "k" * 32})
        async with other.app_context():
            assert avatar_url(1, "susan", "susan@example.com", 48) != mine
        assert avatar_url(2, "susan", "susan@example.com", 48) != mine

    async def test_pages_show_avatars_of_this_site_only(self, app: Quart) -> None:
        susan, me = await logged_in(app, "susan")
        await make_post(await make_user("david"), "Hello")
        await make_post(me, "Hello too")
        pictures = set()
        for path in (*PAGES, "/user/david"):
            page = await susan.get(path)
            text = page.text
            assert "gravatar" not in text
            assert "img-src 'self';" in page.response.headers["Content-Security-Policy"]
            pictures |= set(re.findall(r'<img src="(/avatar/[^"]+)"', text))
        assert len(pictures) == 2
        drawings = set()
        for picture in pictures:
            page = await susan.get(picture)
            assert page.response.content_type == "image/svg+xml"
            assert "immutable" in page.response.headers["Cache-Control"]
            assert f">{picture[-5]}</text>" in page.text
            drawings.add(page.text)
        assert len(drawings) == 2

    @pytest.mark.parametrize(
        "name",
        [
            "x.svg",
            "A" * 32 + ".svg",
            "0" * 33 + ".svg",
            "%00.svg",
            "0" * 32 + "-%3Cb.svg",
            "0" * 32 + "-ABC.svg",
            "0" * 32 + "-_.svg",
        ],
    )
    async def test_only_digests_have_avatars(self, app: Quart, name: str) -> None:
        susan, _ = await logged_in(app, "susan")
        assert (await susan.get(f"/avatar/{name}")).status == 404

    @pytest.mark.parametrize(
        ("username", "letters"),
        [("susan", "S"), ("mary.okafor", "MO"), ("a-b_c", "AC"), ("anna.a", "AA"), ("\u0646\u0648\u0631", "\u0646"), ("7up", "7"), ("..", ""),
         ("\N{PARTY POPPER}", ""), ("\xdf x", "SX"), ("\u0301e", "E")],
    )  # fmt: skip
    async def test_avatars_show_initials(self, app: Quart, username: str, letters: str) -> None:
        path = avatar_url(1, username, "a@example.com", 48)
        assert path.isascii()
        page = await Visitor(app).get(path)
        assert page.status == 200
        assert f">{letters}</text>" in page.text

    @pytest.mark.parametrize("ended", [False, True])
    async def test_a_cached_avatar_does_not_depend_on_the_session(self, app: Quart, ended: bool) -> None:
        susan, _ = await logged_in(app, "susan")
        if ended:
            async with writing() as session:
                await session.execute(delete(LoginSession))
        page, statements = await statements_of(susan, f"/avatar/{'0f' * 16}.svg")
        assert page.status == 200
        assert "public" in page.response.headers["Cache-Control"]
        assert "Set-Cookie" not in page.response.headers
        assert "Vary" not in page.response.headers
        assert statements == []
