"""One request and its answer: its id, who asks, what was answered; a line in the log at the end of it.

An access log of the server would hold paths, and so reset links: this one holds the route's pattern.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, has_request_context, request

from app.web import events

KEY = "microblog.exchange"
"""Where an ASGI scope holds its Exchange."""

LONGEST_METHOD = 20


@dataclass(slots=True)
class Exchange:
    """What is known of a request outside the pages: `status` None until something was answered."""

    peer: str
    method: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    route: str | None = None
    status: int | None = None
    started: float = field(default_factory=time.monotonic)


class Exchanges:
    """The ASGI piece that names every request, tells the name in `X-Request-ID`, and logs its end."""

    def __init__(self, app: ASGIFramework, *, log: bool) -> None:
        self.app = app
        self.log = log

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass the request on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        peer = (scope.get("client") or ("unknown",))[0]
        exchange = Exchange(peer, str(scope.get("method", "WEBSOCKET"))[:LONGEST_METHOD])
        scope[KEY] = exchange  # type: ignore[literal-required]

        async def note(message: Any) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                identity = (b"x-request-id", exchange.id.encode())
                message = {**message, "headers": [*message["headers"], identity]}
            await send(message)

        try:
            await self.app(scope, receive, note)
        finally:
            if self.log:
                _log(exchange)


def init_app(app: Quart) -> None:
    """Note which route answers; the ASGI piece itself is put around `app` by `app.web.gate`."""

    @app.before_request
    async def note_route() -> None:
        exchange = current()
        if exchange is not None and request.url_rule is not None:
            exchange.route = request.url_rule.rule


def current() -> Exchange | None:
    """Return the exchange of the request that is being answered, None outside of one."""
    if not has_request_context():
        return None
    found: Exchange | None = request.scope.get(KEY)  # type: ignore[assignment]
    return found


def _log(exchange: Exchange) -> None:
    events.log_event(
        "access",
        method=exchange.method,
        route=exchange.route,
        status=exchange.status,
        ms=round((time.monotonic() - exchange.started) * 1000, 1),
        peer=exchange.peer,
        request=exchange.id,
    )
