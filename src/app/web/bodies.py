"""Request bodies: read whole and within limits, before Quart sees the request.

Quart 0.22 counts a body only while it holds it, so a multipart body without Content-Length fills the disk,
and it cuts off slow bodies only where a view reads them. Its form parsers run in one go: a megabyte of
percent signs takes them 0.7 s, and the head of one multipart field of that size 0.2 s, in which the
process answers nobody. So a form that costs more than a few milliseconds is refused unparsed.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, HTTPScope

from app.web.security import peer_of

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

MAX_BUFFERED_BODIES = 64  # all bodies together hold at most this many times MAX_CONTENT_LENGTH
PEER_SHARE = 1 / 6  # of it, for the bodies of one peer
MAX_BODY_PIECES = 4096  # each chunk of a chunked body is one, and costs 0.1 ms
MAX_ENCODED_BYTES = 16_384  # in a form; each percent sign or byte to encode costs up to 1 microsecond
MAX_MULTIPART_LENGTH = 16_384  # bytes of such a form, which no page here sends; they cost up to 8 ms

PLAIN_BYTES = b"*-._+&=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""What remains as it is in application/x-www-form-urlencoded (WHATWG URL Standard, 5.2)."""

URLENCODED = ("application/x-www-form-urlencoded", "application/x-url-encoded")
"""The types that Quart parses as such."""


class RequestRefused(Exception):
    """The request is answered with the page for `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class ClientDisconnected(Exception):
    """The client disconnected before it had sent its whole request."""


@dataclass(eq=False, slots=True)
class Body:
    """The body of a request, and the timeout for reading it."""

    peer: str
    reading: asyncio.Timeout
    data: bytearray = field(default_factory=bytearray)
    is_evicted: bool = False
    is_replayed: bool = False

    async def replay(self, receive: ASGIReceiveCallable) -> ASGIReceiveEvent:
        """Return the whole body at first, and then whatever `receive` returns."""
        if self.is_replayed:
            return await receive()
        self.is_replayed = True
        return {"type": "http.request", "body": bytes(self.data), "more_body": False}


class Bodies:
    """Reads the bodies of all requests in progress, in a bounded memory that peers share fairly.

    If another piece does not fit, the largest body that is still arriving is evicted: the largest of the same
    peer if that peer has used up its share, otherwise the largest of all. So a form of a few hundred bytes is
    always accepted.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.max_length: int = config["MAX_CONTENT_LENGTH"]
        self.timeout: float = config["BODY_TIMEOUT"]
        self.held = 0
        self.held_by: Counter[str] = Counter()
        self.arriving: set[Body] = set()

    async def read(self, scope: HTTPScope, receive: ASGIReceiveCallable) -> Body:
        """Return the body of the request, which holds memory until `release()`.

        Raises RequestRefused or ClientDisconnected.
        """
        length = header(scope, b"content-length")
        if length.isdigit() and (len(length) > 20 or int(length) > self.max_length):
            raise RequestRefused(413)
        body = Body(peer_of(scope), asyncio.timeout(self.timeout))
        self.arriving.add(body)
        try:
            async with body.reading:
                for _ in range(MAX_BODY_PIECES):
                    message = cast("dict[str, Any]", await receive())
                    if message["type"] != "http.request":
                        raise ClientDisconnected
                    self._append(message.get("body", b""), body)
                    if not message.get("more_body", False):
                        return body
                raise RequestRefused(413)
        except TimeoutError:
            self.release(body)
            raise RequestRefused(503 if body.is_evicted else 408) from None
        except BaseException:
            self.release(body)
            raise
        finally:
            self.arriving.discard(body)

    def release(self, body: Body) -> None:
        """Release the memory of `body`."""
        self._count(body, -len(body.data))
        body.data = bytearray()

    def _append(self, data: bytes, body: Body) -> None:
        if body.is_evicted:
            raise RequestRefused(503)
        if len(body.data) + len(data) > self.max_length:
            raise RequestRefused(413)
        capacity = MAX_BUFFERED_BODIES * self.max_length
        share = max(capacity * PEER_SHARE, self.max_length)
        while self.held_by[body.peer] + len(data) > share:
            self._make_room(body, len(data), {b for b in self.arriving if b.peer == body.peer})
        while self.held + len(data) > capacity:
            self._make_room(body, len(data), self.arriving)
        body.data += data
        self._count(body, len(data))

    def _make_room(self, body: Body, more: int, arriving: set[Body]) -> None:
        """Evict the largest of `arriving`, or refuse `body` if it would be the largest itself."""
        largest = max(arriving, key=lambda other: len(other.data))
        if len(largest.data) <= len(body.data) + more:
            raise RequestRefused(503)
        largest.is_evicted = True
        largest.reading.reschedule(asyncio.get_running_loop().time())
        self.release(largest)

    def _count(self, body: Body, length: int) -> None:
        self.held += length
        self.held_by[body.peer] += length
        if not self.held_by[body.peer]:
            del self.held_by[body.peer]


@asynccontextmanager
async def discarding(receive: ASGIReceiveCallable) -> AsyncIterator[asyncio.Event]:
    """Discard what still arrives of a request while it is answered; yield an event for its end.

    Hypercorn queues it. If its queue is full, the task that reads from the connection waits forever, and so
    does the one that closes it.
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


def check_form(scope: HTTPScope, data: bytearray, *, max_fields: int) -> None:
    """Refuse a form that would take Quart more than a few milliseconds to parse."""
    content_type = header(scope, b"content-type").decode("latin1")
    mimetype = content_type.partition(";")[0].strip().lower()
    too_costly = False
    if mimetype == "multipart/form-data":
        too_costly = len(data) > MAX_MULTIPART_LENGTH
    elif mimetype in URLENCODED:
        encoded = len(data.translate(None, PLAIN_BYTES))
        too_costly = encoded > MAX_ENCODED_BYTES or data.count(b"&") >= max_fields
    if too_costly:
        raise RequestRefused(413)


def has_body(scope: HTTPScope) -> bool:
    """Return whether the request may have a body, possibly an empty one."""
    return scope["method"] not in SAFE_METHODS or any(
        key.lower() in (b"content-length", b"transfer-encoding") for key, _ in scope["headers"]
    )


def header(scope: HTTPScope, name: bytes) -> bytes:
    """Return the first header called `name`, in lower case, or nothing."""
    return next((value for key, value in scope["headers"] if key.lower() == name), b"")
