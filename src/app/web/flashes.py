"""Messages for the next page: shown once to somebody, and not twice on one page."""

from __future__ import annotations

from quart import Quart, flash, request, session
from quart.globals import request_ctx

SESSION_KEY = "_flashes"
"""Where Quart keeps them."""


def init_app(app: Quart) -> None:
    """Let HEAD leave messages where they are: nobody reads them in its answer."""

    @app.before_request
    async def keep_for_reader() -> None:
        if request.method == "HEAD":
            request_ctx.flashes = []  # type: ignore[assignment]


async def flash_once(message: str) -> None:
    """Flash `message`, unless it waits for its page already."""
    if all(waiting != message for _, waiting in session.get(SESSION_KEY, ())):
        await flash(message)
