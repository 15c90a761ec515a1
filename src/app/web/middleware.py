"""ASGI middleware around the app: connections, trusted proxies, request limits, load shedding, error pages.

A client that is slow to send its request or to read the answer takes no place among the requests in progress.
"""

import asyncio
import logging
import math
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    HTTPScope,
    Scope,
)
from quart import Quart

from app.web.bodies import Bodies, Body, ClientDisconnected, RequestRefused, check_form, has_body
from app.web.errors import RETRY_AFTER_SECONDS, SENTENCES
from app.web.request_log import RequestLog, log_event
from app.web.security import HEALTH_PATHS, bound_sockets, headers_for, parse_address, peer_of

MAX_HEADERS = 100
MAX_HEADERS_LENGTH = 16_384  # bytes; Hypercorn does not count those that arrive at once with the rest
MAX_COOKIE_LENGTH = 8192  # Werkzeug takes up to half a microsecond for each byte of these two
MAX_CONTENT_TYPE_LENGTH = 256
CHECKED_HEADERS = (b"host", b"content-type", b"cookie", b"transfer-encoding", b"content-length")

PEER_SHARE = 1 / 3  # of MAX_REQUESTS, for the requests in progress of one peer
LINGER_SECONDS = 2.0  # to read on from a client that is still sending, so that it can read the response
MAX_LINGERING = 32  # such clients at once; other connections are closed immediately
SHED_LOG_INTERVAL = 1000  # the first shed request is logged, and then one in this many

SOCKET_BUFFER = (
    65_536  # bytes; Linux doubles it. By itself it would grow to 4 MB for a client that reads nothing
)

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
    wrapped = SecurityHeaders(CleartextHTTP2(wrapped), headers_for(config["BASE_URL"]))
    app.asgi_app = Disconnections(wrapped)  # type: ignore[method-assign]

    logging.getLogger("asyncio").addFilter(_is_error)

    @app.before_serving
    async def limit_sockets() -> None:
        for listener in bound_sockets():
            _limit(listener, send_timeout=config["SEND_TIMEOUT"])


def _limit(listener: socket.socket, *, send_timeout: float) -> None:
    """Bound what the system holds for each connection that `listener` accepts, and for how many seconds.

    Only Linux can give up on a client that takes nothing: after `send_timeout`, the connection is lost.
    """
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        listener.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = math.ceil(send_timeout * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _is_error(record: logging.LogRecord) -> bool:
    """Return False for a lost connection: Hypercorn 0.18 does not catch the OSError if it is a timeout."""
    is_connection = record.getMessage().startswith("Unhandled exception in client_connected_cb")
    return not (is_connection and record.exc_info and isinstance(record.exc_info[1], OSError))


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
        ]
        if status == 503:
            headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
        if is_sending and scope["http_version"].startswith("1"):
            headers.append((b"connection", b"close"))
        async with _discarding(receive) as received:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": page, "more_body": True})
            if is_sending:
                await self._linger(received)
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


@asynccontextmanager
async def _discarding(receive: ASGIReceiveCallable) -> AsyncIterator[asyncio.Event]:
    """Discard what still arrives of a request while it is answered; yield an event for its end.

    Hypercorn has a queue for that. If it is full, its reader and whoever closes the connection wait for ever.
    """
    received = asyncio.Event()

    async def discard() -> None:
        message: Any = None
        while message is None or message["type"] != "http.disconnect":
            message = await receive()
            if not message.get("more_body", False):
                received.set()

    task = asyncio.create_task(discard(), name="discarding a request")
    try:
        yield received
    finally:
        task.cancel()


class Disconnections:
    """Ends the connection of a client that has disconnected, together with the requests it had pipelined.

    Quart cancels a request whose client has disconnected, and so its response never ends. Hypercorn 0.18 then
    lets the task that reads from the connection wait for ever if the next request has arrived, and it does
    not handle a connection that is lost by a timeout. ASGI gives no access to a connection; `send` is a
    method of Hypercorn's stream, which leads to it.
    """

    def __init__(self, app: ASGIFramework) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on, if its client is still there."""
        stream = getattr(send, "__self__", None)
        protocol = getattr(stream.send, "__self__", None) if isinstance(stream, HTTPStream) else None
        if not isinstance(stream, HTTPStream) or not isinstance(protocol, H11Protocol):
            await self.app(scope, receive, send)
            return
        server: TCPServer = protocol.send.__self__  # type: ignore[attr-defined]
        transport = server.writer.transport
        try:
            if not transport.is_closing():
                await self.app(scope, receive, send)
        except OSError:
            if not transport.is_closing():
                raise
        finally:
            if stream.state is not ASGIHTTPState.CLOSED and (stream.closed or transport.is_closing()):
                async with _discarding(receive):
                    await protocol.handle(Closed())
                cast("h11.Connection", protocol.connection).send_failed()
                await protocol.can_read.set()


for _class, _attributes in (
    (HTTPStream, {"send", "closed", "state"}),
    (H11Protocol, {"send", "connection", "can_read"}),
    (TCPServer, {"writer"}),
):
    if not _attributes <= set(_class.__init__.__code__.co_names):
        raise ImportError(
            f"app.web.middleware needs {_attributes} of Hypercorn's {_class.__name__}; "
            "the installed version does not have them. Install hypercorn 0.18."
        )


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


class CleartextHTTP2:
    """Answers HTTP/2 without TLS with an empty 505, which a client cannot refuse to take.

    Hypercorn cannot be told not to speak it. A client that opens no window for answers to its streams
    would hold a request in progress with each of them.
    """

    def __init__(self, app: ASGIFramework) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on, or answer 505."""
        if scope["type"] == "http" and scope["http_version"].startswith("2") and scope["scheme"] == "http":
            headers = [(b"content-length", b"0")]
            async with _discarding(receive):
                await send({"type": "http.response.start", "status": 505, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self.app(scope, receive, send)


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
            self._check_url(scope)
            _check_headers(scope)
            if is_sending:
                body = await self.bodies.read(scope, receive)
                is_sending = False
                check_form(scope, body.data, max_fields=self.max_fields)
                receive = _replay(body, receive)
            await self.app(scope, receive, send)
        except RequestRefused as refused:
            await self.early_responses.send(refused.status, scope, receive, send, is_sending=is_sending)
        except ClientDisconnected:
            return
        finally:
            if body is not None:
                self.bodies.release(body)

    def _check_url(self, scope: HTTPScope) -> None:
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
        if len(raw) + len(scope["query_string"]) > self.max_url_length:
            raise RequestRefused(414)
        if not scope["query_string"].isascii():  # RFC 3986; Quart fails before its error handlers
            raise RequestRefused(400)
        if not scope["path"].startswith("/"):
            scope["path"] = _path_of(scope["path"])


def _check_headers(scope: HTTPScope) -> None:
    """Refuse headers that are too many, ambiguous, or make Quart fail before its error handlers.

    A body with two lengths is how a request is smuggled past a proxy that believes the other one; neither
    it nor what follows on the connection may be answered (RFC 9112 6.1, 6.3).
    """
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


def _path_of(target: str) -> str:
    """Return the path of a request target in absolute form, such as http://host/path (RFC 9112 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise RequestRefused(400)
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def _replay(body: Body, receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """Return a `receive` that delivers the whole body first, then whatever `receive` delivers."""
    pending = [bytes(body.data)]

    async def replay() -> ASGIReceiveEvent:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replay
