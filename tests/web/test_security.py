"""Hosts, headers, cookies and client addresses."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from quart import Quart, request

from app import create_app
from app.web.security import HEADERS, current_peer
from tests.clients import Page, Visitor, ask
from tests.conftest import use_fresh_contexts
from tests.factories import PASSWORD, make_user
from tests.inspection import database_of

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil", "localhost:x"]
)
async def test_another_host_gets_400(app: Quart, host: str) -> None:
    response = await app.test_client().get("/login", headers={"Host": host})
    assert response.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:5000", "[::1]:8000"])
async def test_our_own_hosts_are_answered(app: Quart, host: str) -> None:
    response = await app.test_client().get("/login", headers={"Host": host})
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/login", "/nothing", "/healthz", "/reset_password/x", "/static/none"])
async def test_every_answer_carries_the_security_headers(app: Quart, path: str) -> None:
    response = await app.test_client().get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]


CLAIMS = [
    (b"x-forwarded-for", b"10.9.8.7, 192.0.2.1, 198.51.100.2"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-host", b"evil.example"),
    (b"forwarded", b"for=10.9.8.7;host=evil.example"),
    (b"remote-addr", b"10.9.8.7"),
    (b"x-real-ip", b"10.9.8.7"),
]


async def seen(app: Quart, claims: list[tuple[bytes, bytes]]) -> str:
    """Return the peer and scheme that a page sees, or the status when there is none."""

    @app.get("/seen")
    async def page() -> str:
        return f"{request.remote_addr} {request.scheme}"

    answer = await ask(app, "GET", "/seen", headers=claims)
    return answer.body.decode() if answer.status == 200 else str(answer.status)


async def test_without_proxies_forwarded_headers_are_ignored(app: Quart) -> None:
    assert await seen(app, CLAIMS) == "127.0.0.1 http"


class TestBehindOne:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"TRUSTED_PROXIES": 1}

    async def test_the_value_that_the_proxy_added_is_used(self, app: Quart) -> None:
        assert await seen(app, CLAIMS[:2]) == "198.51.100.2 https"

    @pytest.mark.parametrize(
        ("claim", "peer"),
        [
            (b"203.0.113.9:5555", "203.0.113.9"),
            (b"10.9.8.7, 203.0.113.9:5556", "203.0.113.9"),
            (b"::ffff:203.0.113.9", "203.0.113.9"),
            (b"[::ffff:203.0.113.9]:1", "203.0.113.9"),
            (b"[2001:db8::1]:99", "2001:db8::/64"),
            (b"[2001:DB8:0::2]", "2001:db8::/64"),
            (b"2001:db8::3", "2001:db8::/64"),
            (b"1.2.3.04", "127.0.0.1"),
            (b"1.2.3.4:junk", "127.0.0.1"),
            (b"2001:db8::3%eth0", "127.0.0.1"),
            (b"unknown", "127.0.0.1"),
            (b"_hidden:1", "127.0.0.1"),
            (b"", "127.0.0.1"),
            (b"203.0.113.9," + b"x" * 5000, "127.0.0.1"),
        ],
    )
    async def test_a_peer_is_an_address_and_never_a_port_or_junk(
        self, app: Quart, claim: bytes, peer: str
    ) -> None:
        @app.get("/peer")
        async def page() -> str:
            return current_peer()

        answer = await ask(app, "GET", "/peer", headers=[(b"x-forwarded-for", claim)])
        assert answer.body.decode() == peer

    async def test_a_proxy_cannot_forward_another_host(self, app: Quart) -> None:
        assert await seen(app, CLAIMS) == "400"

    @pytest.mark.parametrize(
        "claim",
        [(b"x-forwarded-host", b"\xff\r"), (b"x-forwarded-proto", b"\xff"), (b"x-forwarded-for", b"\xff\0"),
         (b"x-forwarded-host", b"9" * 400), (b"x-forwarded-host", b"")],
    )  # fmt: skip
    async def test_malformed_headers_cause_no_server_error(
        self, app: Quart, claim: tuple[bytes, bytes]
    ) -> None:
        answer = await ask(app, "GET", "/login", headers=[claim])
        assert answer.status < 500


class TestBehindTwo:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"TRUSTED_PROXIES": 2}

    async def test_the_address_before_the_outer_proxy_is_used(self, app: Quart) -> None:
        assert await seen(app, CLAIMS[:1]) == "192.0.2.1 http"

    async def test_fewer_than_two_values_are_ignored(self, app: Quart) -> None:
        assert await seen(app, [(b"x-forwarded-for", b"10.9.8.7")]) == "127.0.0.1 http"


HERE = {"headers": {"Host": "example.com"}, "scheme": "https"}


class Secure(Visitor):
    """A browser at https://example.com."""

    async def get(self, path: str, **kwargs: Any) -> Page:
        return await super().get(path, **(HERE | kwargs))

    async def post(self, path: str, **fields: str) -> Page:
        return await self._page(await self.client.post(path, form=fields, **HERE))


class TestHttps:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"BASE_URL": "https://example.com"}

    async def test_every_cookie_is_host_only_and_secure(self, app: Quart) -> None:
        await make_user("susan")
        visitor = Secure(app)
        first = await visitor.get("/login")
        page = await visitor.post(
            "/login", username="susan", password=PASSWORD, remember_me="y", csrf_token=first.token
        )
        assert page.location == "/index"
        cookies = [
            cookie for answer in (first, page) for cookie in answer.response.headers.getlist("Set-Cookie")
        ]
        names = {cookie.partition("=")[0] for cookie in cookies}
        assert names == {"__Host-session", "__Host-login", "__Host-device"}
        for cookie in cookies:
            attributes = {part.strip() for part in cookie.split(";")}
            assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= attributes
            assert "Domain=" not in cookie

    @pytest.mark.parametrize("path", ["/login", "/nothing", "/static/none", "/healthz"])
    async def test_every_answer_has_hsts(self, app: Quart, path: str) -> None:
        page = await Secure(app).get(path)
        assert page.response.headers["Strict-Transport-Security"].startswith("max-age=31536000")

    @pytest.mark.parametrize(
        "target",
        ["/index?q=ünïcode", "/index?q=\u202eevil", "/user/сусан", "/index#frag\ufeff", "/index?a=b&c=%E2%98%83"],
    )  # fmt: skip
    async def test_redirects_after_login_are_ascii(self, app: Quart, target: str) -> None:
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


OLDEST, OLD, NEW = (secrets.token_urlsafe(32) for _ in range(3))


@asynccontextmanager
async def site(config: dict[str, Any], key: str, *older: str) -> AsyncIterator[Quart]:
    app = create_app(config | {"SECRET_KEY": key, "SECRET_KEY_FALLBACKS": ",".join(older)})
    use_fresh_contexts(app)
    async with app.app_context():
        yield app
    await database_of(app).dispose()


def moved(visitor: Visitor, app: Quart) -> Visitor:
    """Return the same browser at the site with other keys."""
    other = Visitor(app)
    other.client.cookie_jar = visitor.client.cookie_jar
    return other


async def test_logins_and_open_forms_survive_a_key_rotation_until_the_old_key_is_removed(
    config: dict[str, Any],
) -> None:
    async with site(config, OLD, OLDEST) as app:
        await make_user("susan")
        visitor = Visitor(app)
        await visitor.log_in("susan", PASSWORD)
        token = (await visitor.get("/index")).token
    async with site(config, NEW, OLD, OLDEST) as app:
        visitor = moved(visitor, app)
        page = await visitor.post("/index", post="over the rotation", csrf_token=token)
        assert page.location == "/index"
        again = Visitor(app)
        await again.log_in("susan", PASSWORD)
    async with site(config, NEW) as app:
        assert (await moved(again, app).get("/index")).status == 200
        assert (await moved(visitor, app).get("/index")).status == 302
    async with site(config, OLDEST) as app:
        assert (await moved(again, app).get("/index")).status == 302
