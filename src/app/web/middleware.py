"""ASGI middleware around the app: trusted proxies, request limits, load shedding, error pages.

A client that sends its request or reads the response slowly does not count as a request in progress.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from quart import Quart

from app.web.bodies import Bodies, Body, ClientDisconnected, RequestRefused, check_form, discarding, has_body
from app.web.connections import MAX_HEADERS
from app.web.errors import RETRY_AFTER_SECONDS, SENTENCES
from app.web.languages import choose_by_headers, find, speaking
from app.web.request_log import RequestLog, log_event
from app.web.security import HEALTH_PATHS, headers_for, parse_address, peer_of

MAX_HEADERS_LENGTH = 16_384  # bytes; Hypercorn does not count those that arrive at once with the rest
MAX_COOKIE_LENGTH = 8192  # Werkzeug takes up to half a microsecond for each byte of these two
MAX_CONTENT_TYPE_LENGTH = 256
CHECKED_HEADERS = (b"host", b"content-type", b"cookie", b"transfer-encoding", b"content-length")

PEER_SHARE = 1 / 3  # of MAX_REQUESTS, for the requests in progress of one peer
LINGER_SECONDS = 2.0  # to read on from a client that is still sending, so that it can read the response
MAX_LINGERING = 32  # such clients at once; other connections are closed immediately
SHED_LOG_INTERVAL = 1000  # the first shed request is logged, and then one in this many

_LABEL = rb"[a-z0-9_-]{1,63}"
HOST = re.compile(
    rb"(?:(?=.{1,253}$)" + _LABEL + rb"(?:\." + _LABEL + rb")*\.?|(?=.{1,60}$)\[[0-9a-f:.]{2,45}\])?"
    rb"(?::[0-9]{0,5})?",
    re.IGNORECASE,
)
"""A name or address with an optional port (RFC 3986 3.2.2), or nothing."""


def init_app(app: Quart) -> None:
    """Wrap `app`; X-Forwarded-* headers are believed from TRUSTED_PROXIES proxies, by default none."""
    config = app.config
    early_responses = EarlyResponses(app)
    wrapped: ASGIFramework = app.asgi_app
    wrapped = LoadShedding(wrapped, early_responses, limit=config["MAX_REQUESTS"])
    wrapped = RequestLimits(wrapped, early_responses, config)
    wrapped = RequestLog(wrapped, enabled=config["ACCESS_LOG"])
    if config["TRUSTED_PROXIES"]:
        wrapped = TrustedProxies(wrapped, hops=config["TRUSTED_PROXIES"])
    app.asgi_app = SecurityHeaders(wrapped, headers_for(config))  # type: ignore[method-assign]


class EarlyResponses:
    """Error pages sent before Quart sees the request, each rendered once per language."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.pages: dict[tuple[int, str], bytes] = {}
        self.languages: tuple[str, ...] = app.config["LANGUAGES"]
        self.lingering = 0

    async def send(
        self,
        status: int,
        scope: HTTPScope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        *,
        is_sending: bool = False,
    ) -> None:
        """Answer with the page for `status`; a client that `is_sending` its body is cut off."""
        page = await self._page(status, choose_by_headers(self.languages, scope["headers"]))
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(page)).encode()),
        ]
        if status == 503:
            headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
        if is_sending and scope["http_version"].startswith("1"):
            headers.append((b"connection", b"close"))
        async with discarding(receive) as received:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": page, "more_body": True})
            if is_sending:
                await self._linger(received)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _page(self, status: int, language: str) -> bytes:
        if (status, language) not in self.pages:
            title, message = SENTENCES[status]
            with speaking(find(language)):
                template = self.app.jinja_env.get_template("errors/error.html")
                page = await template.render_async(
                    code=status,
                    title=title,
                    message=message,
                    current_user=SimpleNamespace(is_known=False, is_authenticated=False),
                    get_flashed_messages=lambda **_: [],
                )
            self.pages[status, language] = page.encode()
        return self.pages[status, language]

    async def _linger(self, received: asyncio.Event) -> None:
        """Wait a moment for the rest of the request: a reset could destroy the response (RFC 9112 9.6)."""
        if self.lingering >= MAX_LINGERING:
            return
        self.lingering += 1
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await received.wait()
        except TimeoutError:
            pass
        finally:
            self.lingering -= 1


class SecurityHeaders:
    """Adds `headers` to every response; a header that its view has set stays."""

    def __init__(self, app: ASGIFramework, headers: Mapping[str, str]) -> None:
        self.app = app
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                added = (header for header in self.headers if header[0] not in names)
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


class TrustedProxies:
    """Takes the client's address, the scheme and the host from what the last `hops` proxies have added.

    Hypercorn's ProxyFixMiddleware takes any text for an address, so that behind a proxy which adds the
    client's port each connection would have rate limits of its own.
    """

    def __init__(self, app: ASGIFramework, *, hops: int) -> None:
        self.app = app
        self.hops = hops

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on as the outermost proxy received it."""
        if scope["type"] == "http":
            scope = scope.copy()
            address = parse_address(self._value(scope, b"x-forwarded-for"))
            if address is not None:
                scope["client"] = (address, 0)
            scheme = self._value(scope, b"x-forwarded-proto")
            if scheme in ("http", "https"):
                scope["scheme"] = scheme
            host = self._value(scope, b"x-forwarded-host")
            if host:
                headers = [(k, v) for k, v in scope["headers"] if k.lower() != b"host"]
                scope["headers"] = [*headers, (b"host", host.encode("latin1"))]
        await self.app(scope, receive, send)

    def _value(self, scope: HTTPScope, name: bytes) -> str:
        """Return what the first of the trusted proxies wrote into the list header `name`, or ""."""
        header = b",".join(value for key, value in scope["headers"] if key.lower() == name)
        values = header.rsplit(b",", self.hops)
        return values[-self.hops].decode("latin1").strip() if len(values) >= self.hops else ""


class LoadShedding:
    """Answers 503 beyond `limit` requests in progress, a third of which one peer may hold.

    A request is in progress until its answer is ready to be sent. Health checks are neither counted nor shed.
    """

    def __init__(self, app: ASGIFramework, early_responses: EarlyResponses, *, limit: int) -> None:
        self.app = app
        self.early_responses = early_responses
        self.limit = limit
        self.peer_limit = math.ceil(limit * PEER_SHARE)
        self.in_progress: Counter[str] = Counter()  # by peer
        self.shed = 0

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on, or answer 503 with Retry-After."""
        if scope["type"] != "http" or scope["path"] in HEALTH_PATHS:
            await self.app(scope, receive, send)
            return
        peer, in_progress = peer_of(scope), self.in_progress.total()
        if in_progress >= self.limit or self.in_progress[peer] >= self.peer_limit:
            if self.shed % SHED_LOG_INTERVAL == 0:
                log_event("shed", in_progress=in_progress, shed_before=self.shed)
            self.shed += 1
            await self.early_responses.send(503, scope, receive, send)
            return
        with ExitStack() as progress:
            self.in_progress[peer] += 1
            progress.callback(self._finish, peer)

            async def finish_and_send(message: Any) -> None:
                progress.close()
                await send(message)

            await self.app(scope, receive, finish_and_send)

    def _finish(self, peer: str) -> None:
        self.in_progress[peer] -= 1
        if not self.in_progress[peer]:
            del self.in_progress[peer]


class RequestLimits:
    """Passes on requests within the limits on URL, headers and body, and answers all others itself."""

    def __init__(
        self, app: ASGIFramework, early_responses: EarlyResponses, config: Mapping[str, Any]
    ) -> None:
        self.app = app
        self.early_responses = early_responses
        self.max_url_length: int = config["MAX_URL_LENGTH"]
        self.max_fields: int = config["MAX_FORM_PARTS"]
        self.bodies = Bodies(config)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on or refuse it; WebSockets are always refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body: Body | None = None
        is_sending = has_body(scope)
        try:
            _check_head(scope, self.max_url_length)
            _check_target(scope)
            if is_sending:
                body = await self.bodies.read(scope, receive)
                is_sending = False
                check_form(scope, body.data, max_fields=self.max_fields)
                receive = partial(body.replay, receive)
            await self.app(scope, receive, send)
        except RequestRefused as refused:
            await self.early_responses.send(refused.status, scope, receive, send, is_sending=is_sending)
        except ClientDisconnected:
            return
        finally:
            if body is not None:
                self.bodies.release(body)


def _check_head(scope: HTTPScope, max_url_length: int) -> None:
    """Refuse a URL or headers that are too long, ambiguous, or make Quart fail before its error handlers.

    A body with two lengths is how a request is smuggled past a proxy that believes the other one; neither
    it nor what follows on the connection may be answered (RFC 9112 6.1, 6.3).
    """
    raw_path = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    if len(raw_path) + len(scope["query_string"]) > max_url_length:
        raise RequestRefused(414)
    if not scope["query_string"].isascii():  # RFC 3986
        raise RequestRefused(400)
    headers = list(scope["headers"])
    if len(headers) > MAX_HEADERS or sum(len(k) + len(v) for k, v in headers) > MAX_HEADERS_LENGTH:
        raise RequestRefused(431)
    hosts, types, cookies, encodings, lengths = (
        [value for key, value in headers if key.lower() == name] for name in CHECKED_HEADERS
    )
    if sum(map(len, cookies)) > MAX_COOKIE_LENGTH:
        raise RequestRefused(431)
    if (
        (encodings and (lengths or scope["http_version"] == "1.0"))
        or len(lengths) > 1
        or len(hosts) > 1
        or not all(HOST.fullmatch(host) for host in hosts)
        or any(len(value) > MAX_CONTENT_TYPE_LENGTH for value in types)
        or any(b"\n" in value or b"\r" in value for _, value in headers)
    ):
        raise RequestRefused(400)


def _check_target(scope: HTTPScope) -> None:
    """Take the host and path from a target in absolute form, such as http://host/path (RFC 9112 3.2.2).

    The Host header, which has to name the same host, then does not count.
    """
    if scope["path"].startswith("/"):
        return
    scheme, separator, rest = scope["path"].partition("://")
    host, slash, path = rest.partition("/")
    name = host.encode("utf-8", "replace")
    if not separator or scheme.lower() not in ("http", "https") or not (name and HOST.fullmatch(name)):
        raise RequestRefused(400)
    scope["path"] = slash + path or "/"
    others = [(key, value) for key, value in scope["headers"] if key.lower() != b"host"]
    scope["headers"] = [*others, (b"host", name)]
