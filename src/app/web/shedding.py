"""More load than the machine bears: an early 503 for some, so that the others are answered in time."""

from __future__ import annotations

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from app.web import events
from app.web.hosts import ANY_HOST_PATHS
from app.web.refusals import Refusals

TELL_EVERY = 1000
"""The log tells of the first request shed, and of every so many after it."""


class Shedder:
    """The ASGI piece that lets at most `most` requests be under way; supervisors' are not counted."""

    def __init__(self, app: ASGIFramework, refusals: Refusals, *, most: int) -> None:
        self.app = app
        self.refusals = refusals
        self.most = most
        self.under_way = 0
        self.shed = 0

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Pass the request on, or answer 503 with Retry-After."""
        if scope["type"] != "http" or scope["path"] in ANY_HOST_PATHS:
            await self.app(scope, receive, send)
            return
        if self.under_way >= self.most:
            if self.shed % TELL_EVERY == 0:
                events.log_event("shed", under_way=self.under_way, before=self.shed)
            self.shed += 1
            await self.refusals.send(503, scope, receive, send)
            return
        self.under_way += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.under_way -= 1
