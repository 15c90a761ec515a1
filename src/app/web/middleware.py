"""ASGI middleware around the app: request limits, load shedding, and the pages they answer with.

Quart 0.22 counts a body only while it holds it, so a multipart body without Content-Length fills the disk,
and it cuts off slow bodies only where a view reads them. Here every body is read, within limits, before
Quart sees the request, and a client that sends slowly takes no place among the requests in progress.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from hypercorn.middleware import ProxyFixMiddleware
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    HTTPScope,
    Scope,
)
from quart import Quart

from app.web.errors import RETRY_AFTER_SECONDS, SENTENCES
from app.web.request_log import RequestLog, log_event
from app.web.security import HEALTH_PATHS, headers_for

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

MAX_BUFFERED_BODIES = 64
"""The bodies of all requests in progress together hold at most this many times MAX_CONTENT_LENGTH."""

LINGER_SECONDS = 2.0
"""How long to keep reading from a client that is still sending, so that it can read the response."""

MAX_LINGERING = 32
"""How many such clients there may be at once; other connections are closed immediately."""

SHED_LOG_INTERVAL = 1000
"""The first shed request is logged, and then one in this many."""

_LABEL = rb"[a-z0-9_-]{1,63}"
HOST = re.compile(
    rb"(?:(?=.{1,253}$)"
    + _LABEL
    + rb"(?:\."
    + _LABEL
    + rb")*\.?|(?=.{1,60}$)\[[0-9a-f:.]{2,45}\])?"
    rb"(?::[0-9]{0,5})?",
    re.IGNORECASE,
)
"""A name or address with an optional port (RFC 3986 3.2.2), or nothing."""


class RequestRefused(Exception):
    """The request is refused with `status`; `is_sending`: its body has not been read to the end."""

    def __init__(self, status: int, *, is_sending: bool = True) -> None:
        super().__init__(status)
        self.status = status
        self.is_sending = is_sending


class ClientDisconnected(Exception):
    """The client disconnected before it had sent its whole request."""


def init_app(app: Quart) -> None:
    """Wrap `app`; X-Forwarded-* headers are believed from TRUSTED_PROXIES proxies, by default none."""
    config = app.config
    early_responses = EarlyResponses(app)
    wrapped: ASGIFramework = app.asgi_app
    wrapped = LoadShedding(wrapped, early_responses, limit=config["MAX_REQUESTS"])
    wrapped = RequestLimits(wrapped, early_responses, config)
    wrapped = RequestLog(wrapped, enabled=config["ACCESS_LOG"])
    if config["TRUSTED_PROXIES"]:
        wrapped = ProxyFixMiddleware(wrapped, mode="legacy", trusted_hops=config["TRUSTED_PROXIES"])
    app.asgi_app = wrapped  # type: ignore[method-assign]


class EarlyResponses:
    """Error pages sent before Quart sees the request, each rendered once."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.pages: dict[int, bytes] = {}
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
        page = await self._page(status)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(page)).encode()),
            *((k.lower().encode(), v.encode()) for k, v in headers_for(self.app).items()),
        ]
        if status == 503:
            headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
        if is_sending and scope["http_version"].startswith("1"):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": page, "more_body": True})
        if is_sending:
            await self._linger(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _page(self, status: int) -> bytes:
        if status not in self.pages:
            title, message = SENTENCES[status]
            template = self.app.jinja_env.get_template("errors/error.html")
            page = await template.render_async(
                code=status,
                title=title,
                message=message,
                current_user=SimpleNamespace(is_known=False, is_authenticated=False),
                get_flashed_messages=lambda **_: [],
            )
            self.pages[status] = page.encode()
        return self.pages[status]

    async def _linger(self, receive: ASGIReceiveCallable) -> None:
        """Read and discard more data for a moment: a reset could destroy the response (RFC 9112 9.6)."""
        if self.lingering >= MAX_LINGERING:
            return
        self.lingering += 1
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        except TimeoutError:
            pass
        finally:
            self.lingering -= 1


class LoadShedding:
    """Answers 503 when `limit` requests are in progress, so that these are answered in time.

    Health checks are neither counted nor shed.
    """

    def __init__(self, app: ASGIFramework, early_responses: EarlyResponses, *, limit: int) -> None:
        self.app = app
        self.early_responses = early_responses
        self.limit = limit
        self.in_progress = 0
        self.shed = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass the request on, or answer 503 with Retry-After."""
        if scope["type"] != "http" or scope["path"] in HEALTH_PATHS:
            await self.app(scope, receive, send)
            return
        if self.in_progress >= self.limit:
            if self.shed % SHED_LOG_INTERVAL == 0:
                log_event("shed", in_progress=self.in_progress, shed_before=self.shed)
            self.shed += 1
            await self.early_responses.send(503, scope, receive, send)
            return
        self.in_progress += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_progress -= 1


class RequestLimits:
    """Passes on requests within the limits, with their whole bodies, and answers all others itself.

    The limits are those on the length of the URL and the size, time and number of fields of the body.
    """

    def __init__(
        self, app: ASGIFramework, early_responses: EarlyResponses, config: Mapping[str, Any]
    ) -> None:
        self.app = app
        self.early_responses = early_responses
        self.max_url_length: int = config["MAX_URL_LENGTH"]
        self.max_body_length: int = config["MAX_CONTENT_LENGTH"]
        self.max_fields: int = config["MAX_FORM_PARTS"]
        self.body_timeout: float = config["BODY_TIMEOUT"]
        self.buffered = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass the request on or refuse it; WebSockets are always refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = bytearray()
        try:
            self._check_url(scope)
            _check_headers(scope)
            await self._read_body(scope, receive, body)
            await self.app(scope, _replay(body, receive) if _has_body(scope) else receive, send)
        except RequestRefused as refused:
            await self.early_responses.send(
                refused.status, scope, receive, send, is_sending=refused.is_sending
            )
        except ClientDisconnected:
            return
        finally:
            self.buffered -= len(body)

    def _check_url(self, scope: HTTPScope) -> None:
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
        if len(raw) + len(scope["query_string"]) > self.max_url_length:
            raise RequestRefused(414, is_sending=_has_body(scope))
        if not scope["query_string"].isascii():  # RFC 3986; Quart fails before its error handlers
            raise RequestRefused(400, is_sending=_has_body(scope))
        if not scope["path"].startswith("/"):
            scope["path"] = _path_of(scope["path"], is_sending=_has_body(scope))

    async def _read_body(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, body: bytearray
    ) -> None:
        """Read the request's body into `body`; raise RequestRefused or ClientDisconnected."""
        if not _has_body(scope):
            return
        length = _header(scope, b"content-length")
        if length.isdigit() and (len(length) > 20 or int(length) > self.max_body_length):
            raise RequestRefused(413)
        try:
            async with asyncio.timeout(self.body_timeout):
                while True:
                    message = cast("dict[str, Any]", await receive())
                    if message["type"] != "http.request":
                        raise ClientDisconnected
                    self._append(message.get("body", b""), body)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise RequestRefused(408) from None
        is_form = _header(scope, b"content-type").lower().startswith(b"application/x-www-form-url")
        if is_form and body.count(b"&") >= self.max_fields:
            raise RequestRefused(413, is_sending=False)

    def _append(self, data: bytes, body: bytearray) -> None:
        if len(body) + len(data) > self.max_body_length:
            raise RequestRefused(413)
        if self.buffered + len(data) > MAX_BUFFERED_BODIES * self.max_body_length:
            raise RequestRefused(503)
        body += data
        self.buffered += len(data)


def _check_headers(scope: HTTPScope) -> None:
    """Refuse headers over which Quart fails before its error handlers: line breaks, an invalid Host."""
    hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
    is_valid = len(hosts) <= 1 and all(HOST.fullmatch(host) for host in hosts)
    if not is_valid or any(b"\n" in value or b"\r" in value for _, value in scope["headers"]):
        raise RequestRefused(400, is_sending=_has_body(scope))


def _header(scope: HTTPScope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key.lower() == name), b"")


def _has_body(scope: HTTPScope) -> bool:
    """Return whether the request may have a body, possibly an empty one."""
    return scope["method"] not in SAFE_METHODS or any(
        key.lower() in (b"content-length", b"transfer-encoding") for key, _ in scope["headers"]
    )


def _path_of(target: str, *, is_sending: bool) -> str:
    """Return the path of a request target in absolute form, such as http://host/path (RFC 9112 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise RequestRefused(400, is_sending=is_sending)
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def _replay(body: bytearray, receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """Return a `receive` that delivers the whole body first, then whatever `receive` delivers."""
    pending = [bytes(body)]

    async def replay() -> ASGIReceiveEvent:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay
