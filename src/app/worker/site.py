"""The site of one process of Celery's, and the loop it lives on."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from quart import Quart

from app import create_app
from app.cli.context import close_connections
from app.outbox.courier import Courier

T = TypeVar("T")


class WorkerSite:
    """A site and its loop, made at first use and kept.

    One loop for all tasks keeps connections to mail server and database between them.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._site: Quart | None = None
        self._told_to_stop = asyncio.Event()

    def run(self, work: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
        """Return what `work` returns, run in the site's context."""
        if self._runner is None or self._site is None:
            self._runner, self._site = asyncio.Runner(), create_app()
        return self._runner.run(_inside(self._site, work))

    def deliver(self, seconds: float) -> None:
        """Deliver what is due, claiming for no longer than `seconds`; once told to stop, nothing.

        Raises DatabaseUnavailable and DBAPIError.
        """
        with deferring(signal.SIGTERM, meanwhile=self.stop):  # as a service manager sends it to all
            self.run(lambda site: self._deliver(site, seconds))

    def stop(self) -> None:
        """Let what is under way end within OUTBOX_GRACE, and begin nothing more; for signal handlers."""
        if self._runner is None:
            self._told_to_stop.set()
        else:
            self._runner.get_loop().call_soon_threadsafe(self._told_to_stop.set)

    def close(self) -> None:
        """Close connections and loop."""
        if self._runner is not None:
            self.run(close_connections)
            self._runner.close()
        self._runner = self._site = None

    async def _deliver(self, site: Quart, seconds: float) -> None:
        if self._told_to_stop.is_set():
            return
        courier: Courier = site.extensions["outbox_courier"]
        told = asyncio.create_task(self._told_to_stop.wait())
        delivering = asyncio.create_task(courier.drain(seconds=seconds, is_patient=True))
        await asyncio.wait([delivering, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not delivering.done():
            await courier.stop(site.config["OUTBOX_GRACE"])
        await delivering


@contextmanager
def deferring(*numbers: signal.Signals, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Let signals do at the end of the block what they do, and at once only call `meanwhile`.

    Celery's handlers raise SystemExit or close connections wherever they meet the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        meanwhile()

    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
        for each in came[:1]:
            os.kill(os.getpid(), each)


async def _inside(site: Quart, work: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
    async with site.app_context():
        return await work(site)
