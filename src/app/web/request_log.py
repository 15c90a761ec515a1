"""The request log: a line for each request, and for events such as logins, resets and exceeded limits.

    log_event("login", user=7)      ->  2026-11-20T12:00:00.000Z INFO event=login user=7 peer=... request=...

The server's own access log would contain paths, and so reset links. This one has the route's pattern.
"""

import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Quart, has_request_context, request

from app.logs import Event, request_id

SCOPE_KEY = "microblog.request"  # where an ASGI scope holds its RequestRecord
MAX_METHOD_LENGTH = 20

log = logging.getLogger("app.events")


@dataclass(slots=True)
class RequestRecord:
    """A request as the log shows it; `status` is None until the response has started."""

    id: str
    peer: str
    method: str
    route: str | None = None
    status: int | None = None
    started: float = field(default_factory=time.monotonic)


class RequestLog:
    """ASGI middleware that gives each request an id, sends it as `X-Request-ID`, and logs the request."""

    def __init__(self, app: ASGIFramework, *, enabled: bool) -> None:
        self.app = app
        self.enabled = enabled

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Pass the request on, and log it once it has been answered."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        peer = (scope.get("client") or ("unknown",))[0]
        method = str(scope.get("method", "WEBSOCKET"))[:MAX_METHOD_LENGTH]
        record = RequestRecord(secrets.token_hex(8), peer, method)
        scope[SCOPE_KEY] = record  # type: ignore[literal-required]

        async def send_with_id(message: Any) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                header = (b"x-request-id", record.id.encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        reset_token = request_id.set(record.id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            if self.enabled:
                log_event(
                    "access",
                    method=record.method,
                    route=record.route,
                    status=record.status,
                    ms=round((time.monotonic() - record.started) * 1000, 1),
                    peer=record.peer,
                    request=record.id,
                )
            request_id.reset(reset_token)


def init_app(app: Quart) -> None:
    """Record which route answers; `app.web.middleware` installs the ASGI middleware."""

    @app.before_request
    async def record_route() -> None:
        record = current_request()
        if record is not None and request.url_rule is not None:
            record.route = request.url_rule.rule


def current_request() -> RequestRecord | None:
    """Return the record of the request being answered, None outside a request."""
    if not has_request_context():
        return None
    record: RequestRecord | None = request.scope.get(SCOPE_KEY)  # type: ignore[assignment]
    return record


def log_event(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log `event` with `fields`; within a request the client's address is added as `peer`.

    Fields are short: ids, names of limits, numbers. Never pass passwords, tokens or whole paths.
    """
    if not log.isEnabledFor(level):
        return
    if has_request_context():
        fields.setdefault("peer", request.remote_addr)
    log.log(level, Event({"event": event, **fields}))
