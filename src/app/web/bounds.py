"""What a request may be: the length of its address, the size, time and fields of its body.

Quart 0.22 counts a body only as it is held, so that a multipart body without Content-Length fills the
disk, and cuts slow ones only where a view reads them. Here every body is read, and bounded, before
there is a page; whoever is slow to send holds no place among the requests under way.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, cast

from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    HTTPScope,
    Scope,
)

from app.web.refusals import Refusals

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
BODIES_HELD = 64
"""All bodies being read and answered hold at most this many times MAX_CONTENT_LENGTH."""

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
"""A name or address and perhaps a port (RFC 3986 3.2.2), or nothing."""


class Refused(Exception):
    """The request is answered with `status`; `is_sending`: its body has not been read to the end."""

    def __init__(self, status: int, *, is_sending: bool = True) -> None:
        super().__init__(status)
        self.status = status
        self.is_sending = is_sending


class Left(Exception):
    """The client went away before it had sent everything."""


class Bounds:
    """The ASGI piece that passes on requests within bounds, each with its whole body."""

    def __init__(self, app: ASGIFramework, refusals: Refusals, config: Mapping[str, Any]) -> None:
        self.app = app
        self.refusals = refusals
        self.longest_url: int = config["MAX_URL_LENGTH"]
        self.largest_body: int = config["MAX_CONTENT_LENGTH"]
        self.most_fields: int = config["MAX_FORM_PARTS"]
        self.body_seconds: float = config["BODY_TIMEOUT"]
        self.held = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass the request on, or answer it; there is no WebSocket at this site."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": None})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        taken = bytearray()
        try:
            self._check_address(scope)
            _check_headers(scope)
            await self._read(scope, receive, taken)
            await self.app(scope, _replay(taken, receive) if _has_body(scope) else receive, send)
        except Refused as refused:
            await self.refusals.send(
                refused.status, scope, receive, send, is_sending=refused.is_sending
            )
        except Left:
            return
        finally:
            self.held -= len(taken)

    def _check_address(self, scope: HTTPScope) -> None:
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
        if len(raw) + len(scope["query_string"]) > self.longest_url:
            raise Refused(414, is_sending=_has_body(scope))
        if not scope["query_string"].isascii():  # RFC 3986; Quart fails over it before its handlers
            raise Refused(400, is_sending=_has_body(scope))
        if not scope["path"].startswith("/"):
            scope["path"] = _path_of(scope["path"], is_sending=_has_body(scope))

    async def _read(self, scope: HTTPScope, receive: ASGIReceiveCallable, taken: bytearray) -> None:
        """Fill `taken` with the body, counting it in `held`; raise Refused or Left."""
        if not _has_body(scope):
            return
        length = _header(scope, b"content-length")
        if length.isdigit() and (len(length) > 20 or int(length) > self.largest_body):
            raise Refused(413)
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    message = cast("dict[str, Any]", await receive())
                    if message["type"] != "http.request":
                        raise Left
                    self._take(message.get("body", b""), taken)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise Refused(408) from None
        form = _header(scope, b"content-type").lower().startswith(b"application/x-www-form-url")
        if form and taken.count(b"&") >= self.most_fields:
            raise Refused(413, is_sending=False)

    def _take(self, data: bytes, taken: bytearray) -> None:
        if len(taken) + len(data) > self.largest_body:
            raise Refused(413)
        if self.held + len(data) > BODIES_HELD * self.largest_body:
            raise Refused(503)
        taken += data
        self.held += len(data)


def _check_headers(scope: HTTPScope) -> None:
    """Refuse what Quart fails over before its handlers: line breaks, and a Host that is none."""
    hosts = [value for name, value in scope["headers"] if name.lower() == b"host"]
    sound = len(hosts) <= 1 and all(HOST.fullmatch(host) for host in hosts)
    if not sound or any(b"\n" in value or b"\r" in value for _, value in scope["headers"]):
        raise Refused(400, is_sending=_has_body(scope))


def _header(scope: HTTPScope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key.lower() == name), b"")


def _has_body(scope: HTTPScope) -> bool:
    """Return whether a body is to be expected: of any length, perhaps none."""
    return scope["method"] not in SAFE_METHODS or any(
        key.lower() in (b"content-length", b"transfer-encoding") for key, _ in scope["headers"]
    )


def _path_of(target: str, *, is_sending: bool) -> str:
    """Return the path of a request target in absolute form (RFC 9112 3.2.2), such as http://host/path."""
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise Refused(400, is_sending=is_sending)
    _, slash, path = rest.partition("/")
    return slash + path or "/"


def _replay(taken: bytearray, receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """Return a `receive` that gives the body at once, and then what else the client does."""
    waiting = [bytes(taken)]

    async def replay() -> ASGIReceiveEvent:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay
