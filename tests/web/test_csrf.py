"""CSRF: every unsafe route needs a token, and safe methods change nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import delete, select

from app import create_app
from app.accounts import tokens
from app.accounts.models import LoginSession, User
from app.database import Base, reading, writing
from app.posts.models import Post
from app.web.csrf import EXPIRED, EXPIRED_KEPT_EXCEPT_PASSWORDS, EXPIRED_NOTHING_KEPT
from tests.clients import TOKEN, Visitor
from tests.factories import PASSWORD, count, logged_in, make_follow, make_post, make_user

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


REGISTRATION = {
    "username": "susan",
    "email": "susan@example.com",
    "password": "correct horse",
    "password2": "correct horse",
}


def unsafe_rules(app: Quart) -> list[str]:
    return [rule.rule for rule in app.url_map.iter_rules() if rule.methods and "POST" in rule.methods]


async def test_every_post_route_refuses_a_request_without_a_token(app: Quart) -> None:
    visitor = Visitor(app)
    await visitor.register("susan")
    await visitor.log_in("susan")
    post_id = await make_post(1, "said")
    guest = Visitor(app)
    rules = unsafe_rules(app)
    assert len(rules) >= 5
    for rule in rules:
        path = rule.replace("<token>", "x").replace("<username>", "susan").replace("<path:username>", "susan")
        path = re.sub(r"<any\((\w+).*?>", r"\1", path.replace("<number>", str(post_id)))
        answers = {(await who.post(path, **REGISTRATION)).status for who in (visitor, guest)}
        assert answers <= {302, 308, 400}, rule  # 308: from Microblog's addresses
    assert await count(User) == 1
    assert await count(LoginSession) == 1


@pytest.mark.parametrize("token", ["", "x", "1.2", "99999999999.x", "²²²." + "0" * 64, "9" * 400 + ".x"])
async def test_a_wrong_token_is_explained_and_the_input_is_kept(app: Quart, token: str) -> None:
    visitor = Visitor(app)
    await visitor.get("/register")
    page = await visitor.post("/register", **REGISTRATION, csrf_token=token)
    assert page.status == 400
    assert str(EXPIRED_KEPT_EXCEPT_PASSWORDS) in page.text
    assert 'value="susan@example.com"' in page.text
    assert "correct horse" not in page.text
    assert await count(User) == 0


async def test_every_page_has_a_token_of_its_own_so_that_pages_may_be_compressed(app: Quart) -> None:
    visitor = Visitor(app)
    made = [set(TOKEN.findall((await visitor.get("/register")).text)) for _ in range(3)]
    assert [len(tokens) for tokens in made] == [1, 1, 1]
    assert len(set.union(*made)) == 3


async def test_the_token_of_another_visitor_is_refused(app: Quart) -> None:
    other = (await Visitor(app).get("/register")).token
    visitor = Visitor(app)
    await visitor.get("/register")
    page = await visitor.post("/register", **REGISTRATION, csrf_token=other)
    assert page.status == 400


async def test_a_token_from_before_the_login_is_stale_after_it(app: Quart) -> None:
    visitor = Visitor(app)
    await visitor.register("susan")
    before = (await visitor.get("/login")).token
    await visitor.log_in("susan")
    page = await visitor.post("/logout", csrf_token=before)
    assert page.status == 400
    assert await count(LoginSession) == 1


async def test_a_token_is_stale_after_twelve_hours(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.csrf.TOKEN_SECONDS", -1)
    page = await Visitor(app).submit("/register", **REGISTRATION)
    assert page.status == 400


@pytest.mark.parametrize(
    ("path", "words"),
    [("/index", EXPIRED), ("/change_email", EXPIRED_KEPT_EXCEPT_PASSWORDS), ("/change_password", EXPIRED_NOTHING_KEPT),
     ("/delete_account", EXPIRED_NOTHING_KEPT), ("/download_data", EXPIRED_NOTHING_KEPT)],
)  # fmt: skip
async def test_the_message_says_what_is_kept(app: Quart, path: str, words: str) -> None:
    visitor, _ = await logged_in(app, "susan")
    page = await visitor.post(path, csrf_token="stale")
    assert page.status == 400
    assert str(words) in page.text


async def everything() -> dict[str, list[Any]]:
    async with reading() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }


async def good_token(purpose: str, **more: Any) -> str:
    async with writing() as session:
        user = (await session.scalars(select(User).where(User.username == "susan"))).one()
        return tokens.mint(purpose, user.id, user.credentials_version, expires_in=600, **more)


async def test_safe_methods_change_nothing(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    other_id = await make_user("david")
    await make_follow(user_id, other_id)
    post_id = await make_post(user_id, "said")
    links = {
        "/reset_password/<token>": await good_token(tokens.RESET),
        "/change_email/<token>": await good_token(tokens.CHANGE_EMAIL, address="new@example.com"),
    }
    before = await everything()
    rules = [rule for rule in app.url_map.iter_rules() if "<name>" not in rule.rule]
    assert len(rules) > 25
    for rule in rules:
        path = rule.rule.replace("<token>", links.get(rule.rule, "x"))
        path = path.replace("<path:username>", "david").replace("<username>", "david")
        path = path.replace("<number>", str(post_id))
        for who in (visitor, Visitor(app)):
            for method in ("GET", "HEAD", "OPTIONS"):
                response = await who.client.open(path, method=method)
                assert response.status_code < 500, path
    assert await everything() == before


async def test_a_planted_session_cookie_does_not_act_for_a_login(app: Quart) -> None:
    """The attacker's own session cookie and token, beside the victim's login cookie."""
    attacker, _ = await logged_in(app, "mallory")
    for planter in (attacker, Visitor(app)):
        token = (await planter.get("/hello")).token
        victim, _ = await logged_in(app, f"susan{id(planter)}")
        assert planter.client.cookie_jar is not None
        victim.client.set_cookie("localhost", "session", planter.cookie("session"))
        assert (await victim.post("/index", post="forged", csrf_token=token)).status == 400
        assert (await victim.post("/logout", csrf_token=token)).status == 400
    assert await count(Post) == 0
    assert await count(LoginSession) == 3


async def test_a_form_still_works_after_the_login_has_ended(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    async with writing() as session:
        await session.execute(delete(LoginSession))
    page = await visitor.submit("/login", username="susan", password=PASSWORD)
    assert page.location == "/index"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 302),
        ({"Origin": "http://localhost"}, 302),
        ({"Origin": "http://127.0.0.1:8000"}, 302),  # BASE_URL, through a proxy that changes Host
        ({"Origin": "HTTP://LOCALHOST:80", "Sec-Fetch-Site": "same-origin"}, 302),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 302),  # because of our Referrer-Policy
        ({"Origin": "null"}, 302),
        ({"Sec-Fetch-Site": "none"}, 302),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "http://[", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Origin": "chrome-extension://localhost"}, 403),
    ],
)
async def test_what_another_site_sends_is_refused_even_with_a_valid_token(
    app: Quart, headers: dict[str, str], status: int
) -> None:
    visitor, _ = await logged_in(app, "susan")
    form = {"post": "Hello", "csrf_token": (await visitor.get("/index")).token}
    response = await visitor.client.post("/index", form=form, headers=headers)
    assert response.status_code == status
    assert await count(Post) == (status == 302)
    if status == 403:
        assert "another site sent this request" in await response.get_data(as_text=True)
    assert (await visitor.client.get("/index", headers=headers)).status_code == 200


async def test_under_https_a_page_for_http_is_another_site(config: dict[str, Any]) -> None:
    client = create_app(config | {"BASE_URL": "https://site.example"}).test_client()
    for origin, status in (("https://site.example", 400), ("http://site.example", 403)):
        response = await client.post("/login", headers={"Host": "site.example", "Origin": origin})
        assert response.status_code == status


async def test_logging_out_in_a_second_tab_leads_to_the_login(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    token = (await visitor.get("/index")).token
    for _ in ("the first tab", "the second tab"):
        page = await visitor.post("/logout", csrf_token=token)
        assert (page.status, page.location) == (302, "/login")
    assert (await visitor.get("/login")).flashes == []
