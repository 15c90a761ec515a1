"""X-Forwarded-* count only when they come from the configured number of proxies."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart, request

from tests.clients import ask

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

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


async def test_without_proxies_nobody_is_believed(app: Quart) -> None:
    assert await seen(app, CLAIMS) == "127.0.0.1 http"


class TestBehindOne:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"TRUSTED_PROXIES": 1}

    async def test_what_the_proxy_added_counts(self, app: Quart) -> None:
        assert await seen(app, CLAIMS[:2]) == "198.51.100.2 https"

    async def test_a_host_that_is_not_ours_is_refused_from_a_proxy_too(self, app: Quart) -> None:
        assert await seen(app, CLAIMS) == "400"

    @pytest.mark.parametrize(
        "claim",
        [(b"x-forwarded-host", b"\xff\r"), (b"x-forwarded-proto", b"\xff"), (b"x-forwarded-for", b"\xff\0"),
         (b"x-forwarded-host", b"9" * 400), (b"x-forwarded-host", b"")],
    )  # fmt: skip
    async def test_nonsense_makes_no_error(self, app: Quart, claim: tuple[bytes, bytes]) -> None:
        answer = await ask(app, "GET", "/login", headers=[claim])
        assert answer.status < 500


class TestBehindTwo:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"TRUSTED_PROXIES": 2}

    async def test_the_address_before_the_outer_proxy_counts(self, app: Quart) -> None:
        assert await seen(app, CLAIMS[:1]) == "192.0.2.1 http"

    async def test_fewer_than_two_are_not_believed(self, app: Quart) -> None:
        assert await seen(app, [(b"x-forwarded-for", b"10.9.8.7")]) == "127.0.0.1 http"
