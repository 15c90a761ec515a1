"""Limits of a request's size and duration, and of the requests in progress."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from quart import Quart

from app.web.errors import RETRY_AFTER_SECONDS
from app.web.security import HEADERS
from tests.clients import ask

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

FORM = (b"content-type", b"application/x-www-form-urlencoded")
MULTIPART = (b"content-type", b"multipart/form-data; boundary=x")
MEGABYTE = 2**20


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"MAX_REQUESTS": 3, "BODY_TIMEOUT": 0.2}


def is_a_page(answer: Any, words: str) -> bool:
    named = all(answer.header(name) == value for name, value in HEADERS.items())
    return named and words in answer.body.decode() and b'class="brand"' in answer.body


@pytest.mark.parametrize("path", ["/login", "/nothing", "/healthz"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("kind", [FORM, MULTIPART, (b"content-type", b"application/json")])
async def test_a_body_too_large_is_refused_by_its_content_length(
    app: Quart, path: str, method: str, kind: tuple[bytes, bytes]
) -> None:
    for length in (b"17825792", b"9" * 400):
        answer = await ask(app, method, path, headers=[kind, (b"content-length", length)])
        assert answer.status == 413
        assert is_a_page(answer, "Too Large")
        assert answer.header("Connection") == "close"


@pytest.mark.parametrize("kind", [FORM, MULTIPART])
async def test_a_body_without_a_length_is_cut_at_the_limit(
    app: Quart, kind: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.middleware.MAX_BUFFERED_BODIES", 1)
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    chunks = [head] * (kind is MULTIPART) + [b"a" * 65536] * 17
    headers = [kind, (b"transfer-encoding", b"chunked")]
    for _ in range(2):  # what the first request held is released, or the second would get 503
        answer = await ask(app, "POST", "/login", headers=headers, body=chunks)
        assert answer.status == 413


async def test_a_body_within_the_limit_is_read_by_the_page(app: Quart) -> None:
    body = b"username=" + b"x" * (MEGABYTE - 100)
    answer = await ask(app, "POST", "/login", headers=[FORM], body=[body[:1000], body[1000:]])
    assert answer.status == 400  # the page, which misses its token
    assert b"This form has expired" in answer.body


@pytest.mark.parametrize("count", [1001, 100_000])
async def test_too_many_fields_are_refused(app: Quart, count: int) -> None:
    answer = await ask(app, "POST", "/login", headers=[FORM], body=[b"a=b&" * count])
    assert answer.status == 413
    part = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
    answer = await ask(app, "POST", "/login", headers=[MULTIPART], body=[part * min(count, 5000)])
    assert answer.status == 413


@pytest.mark.parametrize(
    ("target", "query"), [("/" + "a" * 8001, b""), ("/login", b"a" * 8001), ("/%00" * 2001, b"")]
)
async def test_a_url_too_long_is_refused(app: Quart, target: str, query: bytes) -> None:
    answer = await ask(app, "GET", target, query=query)
    assert answer.status == 414
    assert is_a_page(answer, "Address Too Long")


@pytest.mark.parametrize(
    ("target", "status"),
    [("http://localhost/login", 200), ("http://localhost", 302), ("*", 400), ("ftp://x/", 400), ("http://[", 302)],
)  # fmt: skip
async def test_other_forms_of_request_target(app: Quart, target: str, status: int) -> None:
    assert (await ask(app, "GET", target)).status == status


async def slow(app: Quart, scope_more: dict[str, Any] | None = None) -> int:
    """Send the head of a form and never its body; return the status of the answer."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/login",
        "query_string": b"", "headers": [(b"host", b"localhost"), FORM], "client": ("127.0.0.1", 1),
        "extensions": {},
    } | (scope_more or {})  # fmt: skip
    call: Any = app(scope, receive, send)  # type: ignore[arg-type]
    async with asyncio.timeout(5):
        await call
    return statuses[0]


async def test_a_slow_body_times_out(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.middleware.LINGER_SECONDS", 0.01)
    assert await slow(app) == 408


async def test_slow_bodies_use_no_request_slots(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.middleware.LINGER_SECONDS", 0.01)
    waiting = [asyncio.create_task(slow(app)) for _ in range(20)]
    await asyncio.sleep(0)
    assert (await ask(app, "GET", "/login")).status == 200
    assert set(await asyncio.gather(*waiting)) == {408}


async def test_requests_beyond_the_limit_get_503_until_others_finish(
    app: Quart,
) -> None:
    go_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    @app.get("/wait")
    async def wait() -> str:
        begun.release()
        await go_on.wait()
        return ""

    waiting = [asyncio.create_task(ask(app, "GET", "/wait")) for _ in range(3)]
    for _ in waiting:
        await begun.acquire()
    answer = await ask(app, "GET", "/login")
    assert answer.status == 503
    assert is_a_page(answer, "Temporarily Unavailable")
    assert answer.header("Retry-After") == str(RETRY_AFTER_SECONDS)
    assert (await ask(app, "GET", "/healthz")).status == 200
    assert (await ask(app, "GET", "/readyz")).status == 200
    go_on.set()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (await ask(app, "GET", "/login")).status == 200


async def test_a_disconnect_frees_its_request_slot(app: Quart) -> None:
    leave = asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        leave.set()
        await asyncio.Event().wait()
        return ""

    for _ in range(5):
        leave.clear()
        assert (await ask(app, "GET", "/wait", leave=leave)).status == 0
    assert (await ask(app, "GET", "/login")).status == 200


async def test_all_buffered_bodies_together_are_limited(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.middleware.MAX_BUFFERED_BODIES", 0.5)
    answer = await ask(app, "POST", "/login", headers=[FORM], body=[b"a" * 600_000])
    assert answer.status == 503
    answer = await ask(app, "POST", "/login", headers=[FORM], body=[b"a" * 400_000])
    assert answer.status == 400


async def test_a_web_socket_is_refused(app: Quart) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/index", "headers": [(b"host", b"localhost")]}
    call: Any = app(scope, receive, send)  # type: ignore[arg-type]
    await call
    assert [message["type"] for message in sent] == ["websocket.close"]
