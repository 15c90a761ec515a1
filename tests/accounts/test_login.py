"""Logging in and out, and the sessions that the server can end."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta

import pytest
from quart import Quart
from sqlalchemy import func, select, update
from werkzeug.security import generate_password_hash

from app.accounts import passwords
from app.accounts.models import LoginSession, User
from app.database import reading, writing
from tests.clients import Page, Visitor
from tests.conftest import CHEAP_HASH
from tests.factories import make_user

ACTION = re.compile(r'<form class="form" action="([^"]*)"')


@pytest.fixture
async def visitor(app: Quart) -> Visitor:
    visitor = Visitor(app)
    await visitor.register("susan")
    await visitor.get("/login")  # where the congratulation is read
    return visitor


def link(page: Page, path: str) -> str:
    """Return the address of the link in the page's content that leads to `path`, with its query."""
    found = re.findall(rf'class="aside">[^<]*<a href="({path}[^"]*)"', page.text)
    assert len(found) == 1
    return html.unescape(found[0])


async def count_sessions() -> int:
    async with reading() as connection:
        found = await connection.execute(select(func.count()).select_from(LoginSession))
        return found.scalar_one()


@pytest.mark.parametrize(
    ("username", "password"),
    [("susan", "wrong horse"), ("nobody", "correct horse"), ("sus an", "x"), ("'--", "x" * 256)],
)
async def test_a_wrong_name_and_a_wrong_password_get_one_answer(
    visitor: Visitor, username: str, password: str
) -> None:
    page = await visitor.log_in(username, password)
    assert page.status == 200
    assert page.flashes == ["Invalid username or password"]
    assert re.search('<input type="password"[^>]* autofocus>', page.text)
    assert await count_sessions() == 0


@pytest.mark.parametrize("username", ["SUSAN", " susan ", "ｓｕｓａｎ", " ＳUSan\t"])
async def test_the_case_of_a_name_does_not_matter(visitor: Visitor, username: str) -> None:
    assert (await visitor.log_in(username)).location == "/index"


@pytest.mark.parametrize("address", ["susan@example.com", " SUSAN@Example.com "])
async def test_an_address_stands_for_the_name_of_its_account(visitor: Visitor, address: str) -> None:
    assert (await visitor.log_in(address)).location == "/index"


async def test_an_unknown_address_gets_the_answer_of_a_wrong_name(visitor: Visitor) -> None:
    page = await visitor.log_in("nobody@example.com")
    assert (page.status, page.flashes) == (200, ["Invalid username or password"])
    assert 'value="nobody@example.com"' in page.text


async def test_an_old_name_that_is_somebody_elses_address_is_a_name(visitor: Visitor) -> None:
    own = generate_password_hash("battery staple", CHEAP_HASH)
    await make_user("susan@example.com", username_canonical=None, email="x@example.com", password_hash=own)
    assert (await visitor.log_in("susan@example.com")).location is None
    assert (await visitor.log_in("susan@example.com", "battery staple")).location == "/index"


@pytest.mark.parametrize("twin", ["Susan", "susan ", "ſusan", "ｓｕｓａｎ", " "])
async def test_an_old_name_that_differs_only_by_form_logs_in_exactly_as_written(
    visitor: Visitor, twin: str
) -> None:
    own = generate_password_hash("battery staple", CHEAP_HASH)
    more = {"email": "twin@example.com", "password_hash": own}
    twin_id = await make_user(twin, username_canonical=None, **more)
    assert (await visitor.log_in("susan", "battery staple")).location is None
    assert (await visitor.log_in(twin, "battery staple")).location == "/index"
    async with reading() as connection:
        assert await connection.scalar(select(LoginSession.user_id)) == twin_id


async def test_a_page_for_members_asks_to_log_in_and_comes_back(visitor: Visitor) -> None:
    page = await visitor.get("/index?page=2")
    assert page.location == "/login?next=/index?page%3D2"
    page = await visitor.get(page.location)
    assert page.flashes == ["Please log in to access this page."]
    wrong = await visitor.submit("/login?next=/index", username="susan", password="no")
    assert "next=%2Findex" in wrong.text
    right = await visitor.submit("/login?next=/index?page%3D2", username="susan", password="correct horse")
    assert right.location == "/index?page=2"


async def test_the_request_to_log_in_is_flashed_once(visitor: Visitor) -> None:
    for path in ("/index", "/explore", "/account"):
        await visitor.get(path)
    assert (await visitor.get("/login")).flashes == ["Please log in to access this page."]
    assert (await visitor.get("/login")).flashes == []


async def test_a_head_request_does_not_use_up_flashes(visitor: Visitor) -> None:
    await visitor.get("/index")
    for path in ("/login", "/nowhere", "/register"):
        await visitor.client.head(path)
    assert (await visitor.get("/login")).flashes == ["Please log in to access this page."]


@pytest.mark.parametrize(
    "path",
    ["/user/John%20Smith", "/user/100%25", "/user/%2525", "/user/%C3%A9a%3Ab", "/user/a%3Fb%23c", "/explore?a=b+c%20d%26&e=%25",
     "/user/?name=a%20%2Fb"],
)  # fmt: skip
async def test_next_is_the_requested_address(visitor: Visitor, path: str) -> None:
    page = await visitor.get(path)
    login = page.location or ""
    assert login.startswith("/login?next=/")
    form = await visitor.get(login)
    [action] = map(html.unescape, ACTION.findall(form.text))
    fields = {"username": "susan", "password": "correct horse", "csrf_token": form.token}
    assert (await visitor.post(action, **fields)).location == path


async def test_registering_on_the_way_to_a_page_leads_to_that_page(app: Quart) -> None:
    visitor = Visitor(app)
    login = (await visitor.get("/user/david?before=2")).location or ""
    register = link(await visitor.get(login), "/register")
    page = await visitor.get(register)
    assert link(page, "/login") == "/login?next=%2Fuser%2Fdavid%3Fbefore%3D2"
    [action] = map(html.unescape, ACTION.findall(page.text))
    fields = {"username": "susan", "email": "susan@example.com", "csrf_token": page.token}
    refused = await visitor.post(action, password="correct horse", password2="no", **fields)
    assert [html.unescape(path) for path in ACTION.findall(refused.text)] == [action]
    both = {"password": "correct horse", "password2": "correct horse"}
    login = (await visitor.post(action, **both, **fields)).location or ""
    fields = {"username": "susan", "password": "correct horse"}
    page = await visitor.post(login, csrf_token=(await visitor.get(login)).token, **fields)
    assert page.location == "/user/david?before=2"


async def test_the_link_to_register_drops_a_next_that_leads_elsewhere(app: Quart) -> None:
    page = await Visitor(app).get("/register?next=//evil.example")
    assert link(page, "/login") == "/login"
    assert not re.search(r'(?:href|action)="[^"]*evil', page.text)


@pytest.mark.parametrize("target", ["/user/a b", "/user/a%2520%250Ab", "/ /evil.example", " /index"])
async def test_a_next_with_raw_spaces_or_encoded_line_breaks_is_dropped(
    visitor: Visitor, target: str
) -> None:
    page = await visitor.get("/login", query_string={"next": target})
    assert 'action="/login"' in page.text


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "///evil.example", "/%09/evil.example",
     "/%5Cevil.example", "javascript:alert(1)", "https:///evil.example", "/\tevil", "/\r\nSet-Cookie:x=1",
     "evil.example", "/%2F/evil.example", "\\\\evil.example", "%2F%2Fevil.example"],
)  # fmt: skip
async def test_next_never_leads_to_another_site(visitor: Visitor, target: str) -> None:
    page = await visitor.get("/login", query_string={"next": target})
    token = page.token
    response = await visitor.client.post(
        "/login",
        query_string={"next": target},
        form={"username": "susan", "password": "correct horse", "csrf_token": token},
    )
    assert response.headers["Location"] == "/index"


async def test_logging_out_ends_the_session_on_the_server(visitor: Visitor) -> None:
    await visitor.log_in("susan")
    stolen = visitor.cookie("login")
    page = await visitor.get("/logout")
    assert page.status == 200
    assert await count_sessions() == 1
    page = await visitor.submit("/logout")
    assert page.location == "/login"
    assert await count_sessions() == 0
    thief = Visitor(visitor.client.app)
    thief.client.set_cookie("localhost", "login", stolen)
    assert (await thief.get("/index")).location == "/login?next=/index"


async def test_each_login_has_a_token_of_its_own(visitor: Visitor) -> None:
    await visitor.log_in("susan")
    first = visitor.cookie("login")
    await visitor.submit("/logout")
    await visitor.log_in("susan")
    second = visitor.cookie("login")
    assert first != second
    assert await count_sessions() == 1


async def test_logging_in_updates_last_seen(visitor: Visitor) -> None:
    async with writing() as session:
        await session.execute(update(User).values(last_seen=datetime(2020, 1, 1, tzinfo=UTC)))
    await visitor.log_in("susan")
    async with reading() as connection:
        seen = (await connection.execute(select(User.last_seen))).scalar_one()
    assert seen is not None
    assert datetime.now(UTC) - seen < timedelta(minutes=1)


async def test_remember_me_gives_a_lasting_cookie(visitor: Visitor) -> None:
    page = await visitor.log_in("susan", remember_me="y")
    cookie = next(c for c in page.response.headers.getlist("Set-Cookie") if c.startswith("login="))
    assert "Max-Age=" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


async def test_without_remember_me_the_cookie_ends_with_the_browser(visitor: Visitor) -> None:
    page = await visitor.log_in("susan")
    cookie = next(c for c in page.response.headers.getlist("Set-Cookie") if c.startswith("login="))
    assert "Max-Age=" not in cookie
    assert "Expires=" not in cookie


async def test_an_expired_session_is_not_logged_in(visitor: Visitor) -> None:
    await visitor.log_in("susan")
    async with writing() as session:
        await session.execute(update(LoginSession).values(expires_at=datetime.now(UTC)))
    page = await visitor.get("/index")
    assert page.location == "/login?next=/index"
    assert any("login=;" in cookie for cookie in page.response.headers.getlist("Set-Cookie"))


@pytest.mark.parametrize(("remember", "hours"), [("", 12), ("y", 30 * 24)])
async def test_a_visit_extends_the_session_and_updates_last_seen(
    visitor: Visitor, app: Quart, remember: str, hours: int
) -> None:
    await visitor.log_in("susan", **({"remember_me": remember} if remember else {}))
    then = datetime.now(UTC) - timedelta(hours=2)
    async with writing() as session:
        await session.execute(
            update(LoginSession).values(created_at=then, seen_at=then, expires_at=then + timedelta(hours=12))
        )
        await session.execute(update(User).values(last_seen=then))
    await visitor.get("/index")
    await asyncio.gather(*app.background_tasks)
    async with reading() as connection:
        seen = (await connection.execute(select(User.last_seen))).scalar_one()
        end = (await connection.execute(select(LoginSession.expires_at))).scalar_one()
    now = datetime.now(UTC)
    assert seen is not None
    assert now - seen < timedelta(minutes=1)
    assert abs(end - now - timedelta(hours=hours)) < timedelta(minutes=1)


async def test_an_old_hash_is_upgraded_at_login(visitor: Visitor, app: Quart) -> None:
    app.config["PASSWORD_HASH_METHOD"] = "pbkdf2:sha256:2"
    await visitor.log_in("susan")
    async with reading() as connection:
        stored = await connection.scalar(select(User.password_hash))
    assert passwords.is_current(stored)
    await visitor.submit("/logout")
    assert (await visitor.log_in("susan")).location == "/index"


@pytest.mark.parametrize("stored", [None, "", "nonsense", "scrypt:broken$x$y", "md5$salt$digest"])
async def test_an_account_without_a_readable_hash_gets_the_usual_answer(
    visitor: Visitor, stored: str | None
) -> None:
    async with writing() as session:
        await session.execute(update(User).values(password_hash=stored))
    page = await visitor.log_in("susan")
    assert page.flashes == ["Invalid username or password"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/auth/login", "/login"),
        ("/auth/login?next=%2Fuser%2Fd%C3%A9a&next=2", "/login?next=%2Fuser%2Fd%C3%A9a&next=2"),
        ("/auth/logout", "/logout"),
        ("/auth/register", "/register"),
        ("/auth/reset_password_request", "/reset_password_request"),
        ("/auth/reset_password/a.b-c%2Fd", None),
        ("/auth/reset_password/eyJ0eXAi.eyJyZXNl.c2ln-_", "/reset_password/eyJ0eXAi.eyJyZXNl.c2ln-_"),
        ("/auth/nothing", None),
    ],
)
async def test_addresses_of_later_microblogs_redirect_for_good(app: Quart, old: str, new: str | None) -> None:
    client = app.test_client()
    for response in (await client.get(old), await client.post(old, form={"username": "susan"})):
        assert response.status_code == (308 if new else 404)
        assert response.headers.get("Location") == new
