"""Under https: cookies of this host only, never in clear, and browsers told to stay with https."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart

from tests.clients import Page, Visitor
from tests.factories import PASSWORD, make_user

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
HERE = {"headers": {"Host": "example.com"}, "scheme": "https"}


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"BASE_URL": "https://example.com"}


class Secure(Visitor):
    """A browser at https://example.com."""

    async def get(self, path: str, **kwargs: Any) -> Page:
        return await super().get(path, **(HERE | kwargs))

    async def post(self, path: str, **fields: str) -> Page:
        return await self._page(await self.client.post(path, form=fields, **HERE))


async def test_every_cookie_is_for_this_host_over_https_only(app: Quart) -> None:
    await make_user("susan")
    visitor = Secure(app)
    first = await visitor.get("/login")
    page = await visitor.post(
        "/login", username="susan", password=PASSWORD, remember_me="y", csrf_token=first.token
    )
    assert page.location == "/index"
    cookies = [
        cookie
        for answer in (first, page)
        for cookie in answer.response.headers.getlist("Set-Cookie")
    ]
    names = {cookie.partition("=")[0] for cookie in cookies}
    assert names == {"__Host-session", "__Host-login", "__Host-device"}
    for cookie in cookies:
        attributes = {part.strip() for part in cookie.split(";")}
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= attributes
        assert "Domain=" not in cookie


@pytest.mark.parametrize("path", ["/login", "/nothing", "/static/none", "/healthz"])
async def test_browsers_are_told_to_stay_with_https(app: Quart, path: str) -> None:
    page = await Secure(app).get(path)
    assert page.response.headers["Strict-Transport-Security"].startswith("max-age=31536000")


@pytest.mark.parametrize(
    "target",
    ["/index?q=ünïcode", "/index?q=\u202eevil", "/user/сусан", "/index#frag\ufeff", "/index?a=b&c=%E2%98%83"],
)  # fmt: skip
async def test_where_a_login_leads_is_written_in_ascii(app: Quart, target: str) -> None:
    await make_user("susan")
    visitor = Secure(app)
    token = (await visitor.get("/login", query_string={"next": target})).token
    response = await visitor.client.post(
        "/login",
        query_string={"next": target},
        form={"username": "susan", "password": PASSWORD, "csrf_token": token},
        **HERE,
    )
    assert response.status_code == 302
    assert response.headers["Location"].isascii()
    assert response.headers["Location"].startswith("/")
    assert not any(ord(character) < 0x21 for character in response.headers["Location"])
    guarded = await Secure(app).get("/explore", query_string={"q": target})
    assert guarded.location is not None
    assert guarded.location.isascii()
