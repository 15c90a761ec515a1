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
    monkeypatch.setattr("app.web.bodies.MAX_BUFFERED_BODIES", 1)
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
    [
        ("http://localhost/login", 200),
        ("HTTP://LOCALHOST:80/login", 200),
        ("http://localhost", 200),
        ("http://site.invalid/login", 400),
        ("http://site.invalid/healthz", 200),
        ("http://me@localhost/login", 400),
        ("http:///login", 400),
        ("http://[", 400),
        ("http://locälhost/", 400),
        ("ftp://localhost/", 400),
        ("*", 400),
    ],
)
async def test_other_forms_of_request_target(app: Quart, target: str, status: int) -> None:
    assert (await ask(app, "GET", target)).status == status


async def test_the_host_of_the_target_counts_instead_of_the_header(app: Quart) -> None:
    assert (await ask(app, "GET", "http://localhost/login", host=b"site.invalid")).status == 200
    assert (await ask(app, "GET", "/login", host=b"site.invalid")).status == 400
    assert (await ask(app, "GET", "http://localhost/login", host=b"b@d")).status == 400


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
    async with asyncio.timeout(60):
        await call
    return statuses[0]


async def test_a_slow_body_times_out(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.middleware.LINGER_SECONDS", 0.01)
    assert await slow(app) == 408


async def test_slow_bodies_use_no_request_slots(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.middleware.LINGER_SECONDS", 0.01)
    waiting = [asyncio.create_task(slow(app)) for _ in range(20)]
    await asyncio.sleep(0)
    assert (await ask(app, "GET", "/login")).status == 200
    assert set(await asyncio.gather(*waiting)) == {408}


async def test_requests_beyond_the_limit_get_503_until_others_finish(app: Quart) -> None:
    go_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    @app.get("/wait")
    async def wait() -> str:
        begun.release()
        await go_on.wait()
        return ""

    waiting = [asyncio.create_task(ask(app, "GET", "/wait", client=(f"192.0.2.{n}", 4711))) for n in range(3)]
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


async def test_one_client_has_a_third_of_the_slots_and_an_unread_answer_takes_none(app: Quart) -> None:
    """An answer that is not read is ready all the same, so it holds up nobody."""
    go_on, begun = asyncio.Event(), asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        begun.set()
        await go_on.wait()
        return ""

    waiting = asyncio.create_task(ask(app, "GET", "/wait"))
    await begun.wait()
    assert (await ask(app, "GET", "/login")).status == 503
    for client in ("192.0.2.1", "::1", "2001:db8::1"):
        assert (await ask(app, "GET", "/login", client=(client, 4711))).status == 200
    go_on.set()
    assert (await waiting).status == 200
    unread = [asyncio.create_task(ask(app, "GET", "/login", unread=asyncio.Event())) for _ in range(5)]
    await asyncio.wait(unread, timeout=0.5)
    assert not any(task.done() for task in unread)
    assert (await ask(app, "GET", "/login")).status == 200
    for task in unread:
        task.cancel()


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


async def test_all_buffered_bodies_together_are_limited(app: Quart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.bodies.MAX_BUFFERED_BODIES", 0.5)
    answer = await ask(app, "POST", "/login", headers=[FORM], body=[b"a" * 600_000])
    assert answer.status == 503
    answer = await ask(app, "POST", "/login", headers=[FORM], body=[b"a" * 400_000])
    assert answer.status == 400


class Upload:
    """A request whose body arrives as the test sends it."""

    def __init__(self, app: Quart, peer: str) -> None:
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.taken = asyncio.Event()
        self.answer = asyncio.create_task(self._run(app, peer))

    async def _run(self, app: Quart, peer: str) -> int:
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            if self.pieces.empty():
                self.taken.set()
            piece = await self.pieces.get()
            return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

        async def send(message: dict[str, Any]) -> None:
            statuses.append(message.get("status", 0))

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/login",
            "query_string": b"", "headers": [(b"host", b"localhost"), FORM], "client": (peer, 1),
            "extensions": {},
        }  # fmt: skip
        call: Any = app(scope, receive, send)  # type: ignore[arg-type]
        await call
        return statuses[0]

    async def send(self, *pieces: bytes | None) -> None:
        """Send pieces of the body, None for its end, and wait until they have been taken."""
        self.taken.clear()
        for piece in pieces:
            self.pieces.put_nowait(piece)
        await asyncio.wait(
            [self.answer, asyncio.create_task(self.taken.wait())], return_when=asyncio.FIRST_COMPLETED
        )


class TestHeldBodies:
    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        return config | {"BODY_TIMEOUT": 60, "MAX_REQUESTS": 300}

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.web.middleware.LINGER_SECONDS", 0.01)
        monkeypatch.setattr("app.web.bodies.MAX_BUFFERED_BODIES", 12)

    async def test_beyond_a_sixth_the_largest_body_of_a_peer_gives_way(self, app: Quart) -> None:
        large = Upload(app, "192.0.2.1")
        await large.send(b"a" * (MEGABYTE - 1))
        smaller = Upload(app, "192.0.2.1")
        await smaller.send(b"a" * (MEGABYTE - 2))
        assert not large.answer.done()
        form = Upload(app, "192.0.2.1")
        await form.send(b"username=susan")
        assert await large.answer == 503
        await form.send(None)
        assert await form.answer == 400
        await smaller.send(b"a", None)
        assert await smaller.answer == 400

    async def test_one_peer_leaves_room_for_another(self, app: Quart) -> None:
        held = [Upload(app, "192.0.2.1") for _ in range(13)]
        for upload in held:
            await upload.send(b"a" * (MEGABYTE - 1))
        other = Upload(app, "192.0.2.2")
        await other.send(b"a" * (MEGABYTE - 1), b"a", None)
        assert await other.answer == 400
        for upload in held:
            await upload.send(None)
        answers = [await upload.answer for upload in held]
        assert answers.count(400) == 2
        assert answers.count(503) == 11

    async def test_a_small_body_does_not_wait_for_large_ones_of_many_peers(self, app: Quart) -> None:
        held = [Upload(app, f"192.0.2.{n}") for n in range(12)]
        for upload in held:
            await upload.send(b"a" * MEGABYTE)
        form = Upload(app, "198.51.100.1")
        await form.send(b"username=susan", None)
        assert await form.answer == 400
        refused = Upload(app, "198.51.100.2")
        for upload in held[:1]:
            await upload.send(None)
        await refused.send(b"a" * MEGABYTE, None)
        for upload in held[1:]:
            await upload.send(None)
        answers = [await upload.answer for upload in held]
        assert answers.count(503) == 1
        assert await refused.answer == 400


COSTLY_FORMS: dict[str, tuple[tuple[bytes, bytes], list[bytes]]] = {
    "percent signs": (FORM, [b"a=" + b"%" * 20_000]),
    "encoded letters": (FORM, [b"a=" + b"%41" * 20_000]),
    "raw UTF-8": (FORM, [b"a=%41" + "aé".encode() * 20_000]),
    "markup": (FORM, [b"username=" + b"<" * 20_000]),
    "fields by another name": ((b"content-type", b"Application/X-URL-Encoded ;a"), [b"a=b&" * 1000]),
    "lines in the head of a part": (MULTIPART, [b"--x\r\n" + b"a:b\r\n" * 4000 + b"\r\n--x--\r\n"]),
    "parameters of a part": (
        MULTIPART,
        [b"--x\r\nContent-Disposition: form-data" + b"; a=b" * 180_000 + b"\r\n\r\n--x--\r\n"],
    ),
    "tiny chunks": (FORM, [b"a"] * 5000),
}


@pytest.mark.parametrize("name", COSTLY_FORMS)
async def test_a_form_that_is_costly_to_parse_is_refused_unparsed(
    app: Quart, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []
    monkeypatch.setattr("quart.wrappers.request.FormDataParser.parse", lambda *a: parsed.append(a))
    kind, body = COSTLY_FORMS[name]
    answer = await ask(app, "POST", "/login", headers=[kind], body=body)
    assert answer.status == 413
    assert is_a_page(answer, "Too Large")
    assert not parsed


async def test_a_small_form_may_be_multipart_or_all_encoded(app: Quart) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\nsusan\r\n--x--\r\n'
    encoded = b"username=" + b"%73" * 5000
    for kind, body in ((MULTIPART, part), (FORM, encoded)):
        answer = await ask(app, "POST", "/login", headers=[kind], body=[body])
        assert answer.status == 400  # the page, which misses its token
        assert b'value="s' in answer.body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"a%d" % n, b"b") for n in range(100)], 431),
        ([(b"a%d" % n, b"b") for n in range(99)], 200),
        ([(b"a", b"b" * 17_000)], 431),
        ([(b"cookie", b"a=b;" * 2049)], 431),
        ([(b"cookie", b"a=b;" * 1024), (b"cookie", b"a=b;" * 1025)], 431),
        ([(b"cookie", b"a=b;" * 1000)], 200),
        ([(b"content-type", b"multipart/form-data; boundary=x" + b"; a=b" * 100)], 400),
    ],
)
async def test_too_many_headers_are_refused_unparsed(
    app: Quart, headers: list[tuple[bytes, bytes]], status: int
) -> None:
    answer = await ask(app, "GET", "/login", headers=headers)
    assert answer.status == status
    assert answer.header("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", [(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")]),
        ("1.1", [(b"transfer-encoding", b"chunked"), (b"content-length", b"3")]),
        ("1.1", [(b"content-length", b"3"), (b"content-length", b"4")]),
        ("1.0", [(b"transfer-encoding", b"chunked")]),
    ],
)
@pytest.mark.parametrize("path", ["/login", "/healthz"])
async def test_two_lengths_of_a_body_are_refused_and_the_connection_closed(
    app: Quart, path: str, version: str, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = await ask(app, "POST", path, headers=headers, body=[b"a=b"], http_version=version)
    assert answer.status == 400
    assert answer.header("Connection") == "close"


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
