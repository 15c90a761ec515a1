"""No input makes a 5xx: every route, for guests and for people logged in, with whatever Hypothesis finds.

`FUZZ=2000 pytest tests/web/test_fuzz.py` looks longer, and each time elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from quart import Quart
from quart.signals import got_background_exception, got_request_exception

from tests.clients import TOKEN, ask
from tests.factories import logged_in, make_post, make_user

EXAMPLES = int(os.environ.get("FUZZ", "15"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
FIELDS = (
    "username", "email", "password", "password2", "remember_me", "about_me", "post", "name", "submit",
)  # fmt: skip
NASTY = [
    "", "\0", "a\0b", "\ud800", "\udfff\ud800", "٣", "１２", "²", "-1", "-9223372036854775809",
    "9" * 400, "1e309", "NaN", "None", "%", "%zz", "%00", "../../etc/passwd", "..\\..", "//e", "\\",
    "' OR 1=1 --", "{{7*7}}", "<script>", "\r\nX: y", "\u202e", "\ufeff", "İ", "ß" * 65, "ﷺ" * 140,
    "a" * 300, "🏳️‍🌈" * 50, "susan", "SUSAN", "susan@example.com", "a@" + "b" * 300, "a@[::1]",
    '"a b"@example.com', "a@b@c", "=?utf-8?q?x?=", "~", "MjAyNi0xMS0yMH4x", "y" * 7000,
]  # fmt: skip
VARIABLE = re.compile(r"<[^>]+>")
text = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=80))
raw = st.one_of(text.map(lambda t: t.encode("utf-8", "surrogatepass")), st.binary(max_size=80))
METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "get",
    "X",
]
TYPES = [
    b"application/x-www-form-urlencoded", b"application/x-www-form-urlencoded; charset=utf-16",
    b"multipart/form-data", b"multipart/form-data; boundary=x", b"multipart/form-data; boundary=\xff",
    b"multipart/form-data; boundary=" + b"b" * 300, b"application/json", b"text/plain", b"", b"\xff",
    b"multipart/form-data; boundary=x; charset=\xff", b"application/x-url-encoded", b";;;=",
]  # fmt: skip
PARTS = st.sampled_from([
    b"--x", b"\r\n", b"--x--", b'Content-Disposition: form-data; name="username"', b"\0", b"\xff\xfe",
    b"Content-Type: text/plain; charset=utf-16", b"Content-Disposition: form-data; name=\xff", b"a: b",
    b'Content-Disposition: form-data; name="post"; filename="\xff\0"', b"\r\n\r\n", b"value", b"\n",
    b"Content-Transfer-Encoding: base64", b"Content-Length: 99999999999999999999",
])  # fmt: skip
bodies = st.one_of(
    raw,
    st.lists(PARTS, max_size=20).map(b"".join),
    st.dictionaries(st.sampled_from(FIELDS), raw, max_size=6).map(lambda d: urlencode(d).encode()),
)
HEADER_NAMES = [
    b"cookie", b"accept", b"accept-language", b"content-length", b"range", b"if-none-match", b"referer",
    b"if-modified-since", b"authorization", b"user-agent", b"x-forwarded-for", b"remote-addr", b"origin",
    b"x-http-method-override", b"transfer-encoding", b"content-encoding", b"upgrade", b"date", b"expect",
]  # fmt: skip
headers = st.lists(st.tuples(st.sampled_from(HEADER_NAMES), raw), max_size=4)


class Site:
    """The site with susan in it, and what a browser of hers or a guest's sends along."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.errors: list[BaseException] = []
        self.rules = sorted(rule.rule for rule in app.url_map.iter_rules())
        self.cookies: dict[str, bytes] = {"guest": b"", "susan": b""}
        self.tokens: dict[str, str] = {}

    def target(self, rule: str, value: str) -> str:
        """Return the path of `rule` with `value` for its variables, percent-encoded."""
        filled = quote(value.encode("utf-8", "surrogatepass"), safe="/")
        return VARIABLE.sub(lambda _: filled, rule)

    async def ask(self, who: str, method: str, target: str, **more: Any) -> Any:
        """Send a request as `who`; fail on an unhandled error or a status of 500 and above."""
        own = [(b"cookie", self.cookies[who])] if self.cookies[who] else []
        more["headers"] = [*own, *more.get("headers", ())]
        answer = await ask(self.app, method, target, **more)
        assert not self.errors, self.errors
        assert 200 <= answer.status < 500, (answer.status, method, target, more)
        assert answer.header("X-Content-Type-Options") == "nosniff"
        assert answer.header("Location").isascii()
        return answer

    async def form(self, who: str, target: str, fields: dict[str, Any]) -> Any:
        """Post `fields` with a good CSRF token."""
        body = urlencode(
            {**fields, "csrf_token": self.tokens[who]}, errors="surrogatepass"
        ).encode()
        kind = (b"content-type", b"application/x-www-form-urlencoded")
        return await self.ask(who, "POST", target, headers=[kind], body=[body])


@asynccontextmanager
async def watched(app: Quart) -> AsyncIterator[list[BaseException]]:
    """Collect the unhandled errors of `app`."""
    errors: list[BaseException] = []

    async def note(sender: object, exception: BaseException) -> None:
        errors.append(exception)

    with (
        got_request_exception.connected_to(note, sender=app),
        got_background_exception.connected_to(note, sender=app),
    ):
        yield errors


@pytest.fixture
async def site(app: Quart) -> AsyncIterator[Site]:
    visitor, user_id = await logged_in(app, "susan")
    await make_user("john")
    await make_post(user_id, "hello")
    found = Site(app)
    for who, client, page in (
        ("susan", visitor.client, "/index"),
        ("guest", app.test_client(), "/login"),
    ):
        token = TOKEN.findall(await (await client.get(page)).get_data(as_text=True))[-1]
        jar = client.cookie_jar
        assert jar is not None
        found.cookies[who] = "; ".join(f"{c.name}={c.value}" for c in jar).encode()
        found.tokens[who] = token
    async with watched(app) as found.errors:
        yield found


PEOPLE = ["guest", "susan"]
people = st.sampled_from(PEOPLE)
only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@only_sqlite
@pytest.mark.parametrize("who", PEOPLE)
async def test_every_route_takes_every_method(site: Site, who: str) -> None:
    for rule in site.rules:
        for method in METHODS:
            await site.ask(who, method, site.target(rule, "susan"))


@only_sqlite
@pytest.mark.parametrize("who", PEOPLE)
async def test_every_route_takes_every_odd_value(site: Site, who: str) -> None:
    for rule in filter(VARIABLE.search, site.rules):
        for value in NASTY:
            await site.ask(who, "GET", site.target(rule, value))
            await site.form(who, site.target(rule, value), {"password": value, "username": value})


@fuzz
@given(data=st.data())
async def test_any_request_to_any_route(site: Site, data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(site.rules))
    await site.ask(
        data.draw(people),
        data.draw(st.sampled_from(METHODS)),
        site.target(rule, data.draw(text)),
        query=data.draw(raw),
        headers=[(b"content-type", data.draw(st.sampled_from(TYPES))), *data.draw(headers)],
        body=[data.draw(bodies)],
    )


@fuzz
@given(who=people, data=st.data())
async def test_any_form_with_a_good_token(site: Site, who: str, data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(site.rules))
    fields = data.draw(st.dictionaries(st.sampled_from(FIELDS), text, max_size=len(FIELDS)))
    await site.form(
        "guest" if "logout" in rule else who, site.target(rule, data.draw(text)), fields
    )


@fuzz
@given(
    who=people, name=st.sampled_from(["next", "before", "after", "name", "view", "page"]), value=raw
)
async def test_any_query(site: Site, who: str, name: str, value: bytes) -> None:
    for rule in ("/", "/index", "/explore", "/login", "/user/", "/user/susan", "/hello"):
        for query in (name.encode() + b"=" + value, urlencode({name: value}).encode()):
            await site.ask(who, "GET", rule, query=query)


@fuzz
@given(value=raw, cut=st.integers(0, 400), who=people)
async def test_any_cookie(site: Site, value: bytes, cut: int, who: str) -> None:
    broken = site.cookies[who][:cut] + value
    for cookie in (broken, b"session=" + value, b"login=" + value, b"session=" + broken):
        await site.ask("guest", "GET", "/login", headers=[(b"cookie", cookie)])


@fuzz
@given(path=st.one_of(raw.map(lambda p: quote(p)), text), who=people)
async def test_any_path(site: Site, path: str, who: str) -> None:
    for target in (path, f"/{path}", f"//{path}", f"http://{path}", f"http://e/{path}", "*"):
        await site.ask(who, "GET", target)


@fuzz
@given(host=st.one_of(raw, st.from_regex(rb"[a-z0-9.:_\[\]-]{0,80}", fullmatch=True)))
@example(host=b".")
@example(host=b"a..b")
@example(host=b"xn--zz--")
@example(host=b"[::1")
@example(host=b"[v1.x]:99999")
@example(host=b"localhost:99999")
@example(host=b"9" * 400)
async def test_any_host(site: Site, host: bytes) -> None:
    for path in ("/login", "/healthz", "/nothing", "/static/x"):
        await site.ask("guest", "GET", path, host=host)
    await site.ask("guest", "POST", "/login", host=host, http_version="1.0")
