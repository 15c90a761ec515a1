"""Answers given before a page is reached: rendered once in the site's look, then sent as they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from quart import Quart

from app.web.errors import RETRY_AFTER_SECONDS, SENTENCES
from app.web.headers import headers_for

LINGER_SECONDS = 2.0
"""How long a client that is still sending may go on, so that it reads the answer before a reset."""

LINGERERS = 32
"""Clients that are let linger at once; beyond it the connection is closed at once."""


class Refusals:
    """The ready pages of one app, by status."""

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
        """Answer with the page of `status`; `is_sending`: the client is not done, and is cut off."""
        page = await self._page(status)
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        headers += [(b"content-length", str(len(page)).encode())]
        headers += [(k.lower().encode(), v.encode()) for k, v in headers_for(self.app).items()]
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
            title, sentence = SENTENCES[status]
            template = self.app.jinja_env.get_template("errors/error.html")
            page = await template.render_async(
                code=status,
                title=title,
                message=sentence,
                current_user=SimpleNamespace(is_authenticated=False),
                get_flashed_messages=lambda **_: [],
            )
            self.pages[status] = page.encode()
        return self.pages[status]

    async def _linger(self, receive: ASGIReceiveCallable) -> None:
        """Read on for a moment, keeping nothing (RFC 9112 9.6: else a reset may eat the answer)."""
        if self.lingering >= LINGERERS:
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
