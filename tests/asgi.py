"""Asking an app by ASGI itself: whatever bytes a test likes, beyond what clients and servers let pass."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from quart import Quart

Headers = Iterable[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What came back; `status` 0 when nothing did."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of that name, or ""."""
        wanted = name.lower().encode()
        return next((v.decode("latin1") for k, v in self.headers if k.lower() == wanted), "")


async def ask(
    app: Quart,
    method: str,
    target: str,
    *,
    query: bytes = b"",
    headers: Headers = (),
    body: Iterable[bytes] = (),
    host: bytes = b"localhost",
    leave: asyncio.Event | None = None,
    **scope: Any,
) -> Answer:
    """Send one request to `target`, a path perhaps percent-encoded; `body` in pieces.

    The client goes away once `leave` is set.
    """
    whole = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.1"},
        "method": method,
        "scheme": "http",
        "path": unquote(target),
        "raw_path": target.encode("utf-8", "surrogatepass"),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", host), *headers],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8000),
        "extensions": {},
    } | scope
    pieces = list(body)
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    answer = Answer(0, [], b"")

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop(0)
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status, answer.headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    call: Any = app(whole, receive, send)  # type: ignore[arg-type]
    await asyncio.create_task(call, context=Context())
    return answer
