"""Run the app's coroutines in a Celery process, and keep signals from interrupting them."""

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


class AppRunner:
    """The app and event loop of one process, created at first use.

    All tasks of a process share one loop, so connections to mail server and database stay open between them.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._app: Quart | None = None
        self._stopping = asyncio.Event()

    def run(self, function: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
        """Run `function` in the app's context and return its result."""
        if self._runner is None or self._app is None:
            self._runner, self._app = asyncio.Runner(), create_app()
        app = self._app

        async def inside() -> T:
            async with app.app_context():
                return await function(app)

        return self._runner.run(inside())

    def deliver(self, seconds: float) -> None:
        """Deliver due mail, claiming for at most `seconds`; return at once after `stop`.

        Raises DatabaseUnavailable and DBAPIError.
        """
        # A service manager may send SIGTERM to every process of the group.
        with deferring(signal.SIGTERM, meanwhile=self.stop):
            self.run(lambda app: self._deliver(app, seconds))

    def stop(self) -> None:
        """Finish the mails in progress within OUTBOX_GRACE and start no others. Safe in signal handlers."""
        if self._runner is None:
            self._stopping.set()
        else:
            self._runner.get_loop().call_soon_threadsafe(self._stopping.set)

    def close(self) -> None:
        """Close the app's connections and the loop."""
        if self._runner is not None:
            self.run(close_connections)
            self._runner.close()
        self._runner = self._app = None

    async def _deliver(self, app: Quart, seconds: float) -> None:
        if self._stopping.is_set():
            return
        courier: Courier = app.extensions["outbox_courier"]
        stopping = asyncio.create_task(self._stopping.wait())
        delivering = asyncio.create_task(courier.drain(seconds=seconds, is_periodic=True))
        await asyncio.wait([delivering, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not delivering.done():
            await courier.stop(app.config["OUTBOX_GRACE"])
        await delivering


@contextmanager
def deferring(*numbers: signal.Signals, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Hold signals back until the end of the block; only call `meanwhile` when one arrives.

    Celery's handlers raise SystemExit or close connections wherever the main thread happens to be.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        meanwhile()

    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, original in previous.items():
            signal.signal(number, original)
        for first in received[:1]:
            os.kill(os.getpid(), first)
