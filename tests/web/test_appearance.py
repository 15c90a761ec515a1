"""The theme, icons, and the addresses that browsers ask every site for."""

from __future__ import annotations

import mimetypes

import pytest
from quart import Quart

from tests.clients import Visitor
from tests.factories import logged_in


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_a_theme_is_chosen_in_the_footer_and_kept_in_a_cookie(app: Quart, theme: str) -> None:
    visitor = Visitor(app)
    assert "data-theme" not in (await visitor.get("/login")).text
    page = await visitor.submit(
        "/theme", page="/login?next=/explore%3Fa", theme=theme, next="/login?next=/explore%3Fa"
    )
    assert (page.status, page.location) == (302, "/login?next=/explore%3Fa")
    cookie = page.response.headers["Set-Cookie"]
    assert all(word in cookie for word in (f"theme={theme}", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"))
    text = (await visitor.get("/login")).text
    assert f'<html lang="en" data-theme="{theme}">' in text
    assert f'value="{theme}" aria-pressed="true"' in text
    await visitor.submit("/theme", page="/login", theme="", next="/login")
    assert "data-theme" not in (await visitor.get("/login")).text


async def test_the_buttons_know_their_page(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    page = await susan.get("/explore?before=%22%3C")
    assert 'name="next" value="/explore?before=%22%3C"' in page.text
    answer = await susan.post("/reset_password_request", csrf_token="stale")
    assert "//" not in (answer.location or "")


@pytest.mark.parametrize(
    ("theme", "next_"), [("purple", "//evil.example"), ("x" * 5000, "https://e"), ("\0", "")]
)
async def test_made_up_themes_and_targets_change_nothing(app: Quart, theme: str, next_: str) -> None:
    visitor = Visitor(app)
    page = await visitor.submit("/theme", page="/login", theme=theme, next=next_)
    assert (page.status, page.location) == (302, "/")
    assert "data-theme" not in (await visitor.get("/login")).text


async def test_a_theme_needs_a_token_and_a_cookie_is_only_believed_if_it_names_one(app: Quart) -> None:
    visitor = Visitor(app)
    await visitor.post("/theme", theme="dark", csrf_token="stale")
    assert "data-theme" not in (await visitor.get("/login")).text
    page = await visitor.get("/login", headers={"Cookie": 'theme="><script>'})
    assert "data-theme" not in page.text
    assert (await visitor.get("/theme")).status == 405


async def test_icons_and_the_manifest_are_found_where_browsers_look(app: Quart) -> None:
    visitor = Visitor(app)
    response = await visitor.client.get("/favicon.ico")
    assert response.status_code == 200
    assert (await response.get_data())[:4] == b"\0\0\1\0"  # an ICO file
    assert response.content_type == mimetypes.guess_type("favicon.ico")[0]
    response = await visitor.client.get("/site.webmanifest")
    assert response.content_type == "application/manifest+json"
    manifest = await response.get_json()
    assert manifest["start_url"] == "/"
    for icon in manifest["icons"]:
        response = await visitor.client.get(icon["src"])
        assert (response.status_code, response.content_type) == (200, icon["type"])
    page = await visitor.get("/.well-known/change-password")
    assert (page.status, page.location) == (302, "/change_password")
