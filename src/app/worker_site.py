"""The site of one process of Celery's, and the loop it lives on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from quart import Quart

from app import create_app

T = TypeVar("T")


class WorkerSite:
    """A site and its loop, made at first use and kept.

    One loop for all tasks keeps connections to mail server and database between them.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._site: Quart | None = None

    def run(self, work: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
        """Return what `work` returns, run in the site's context."""
        if self._runner is None or self._site is None:
            self._runner, self._site = asyncio.Runner(), create_app()
        return self._runner.run(_inside(self._site, work))

    def close(self) -> None:
        """Close connections and loop."""
        if self._runner is not None:
            self.run(_take_down)
            self._runner.close()
        self._runner = self._site = None


async def _inside(site: Quart, work: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
    async with site.app_context():
        return await work(site)


async def _take_down(site: Quart) -> None:
    await site.extensions["mail_pool"].close()
    await site.extensions["database"].dispose()
