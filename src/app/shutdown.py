"""Ending in time: at SIGTERM the courier stops at once, and requests have no longer than the grace.

Hypercorn ends the lifespan only when every connection is closed: on Python 3.11 after `graceful_timeout`,
from 3.12 on never, as `asyncio.Server.wait_closed` waits for each of them. So one client that keeps its
upload open would keep the mail from being let go, and the process from ending.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

from quart import Quart

from app.outbox.courier import Courier

_CONNECTION = "_server_callback"
"""The name of Hypercorn's coroutine for one connection; its `writer` is the way to the client."""


def init_app(app: Quart) -> None:
    """Let `app` end within OUTBOX_GRACE after the signals that its server listens to."""
    stopping: set[asyncio.Task[None]] = set()

    @app.before_serving
    async def listen() -> None:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            stopping.add(asyncio.create_task(_stop(app), name="shutdown"))

        for number in (signal.SIGTERM, signal.SIGINT):
            _also(number, lambda: loop.call_soon_threadsafe(begin))

    @app.after_serving
    async def forget() -> None:
        for task in stopping:
            task.cancel()


def _also(number: signal.Signals, call: Callable[[], object]) -> None:
    """Call also when a signal comes that the server has a handler for.

    asyncio's own handlers hear of signals by a file descriptor: they are called all the same.
    """
    before = signal.getsignal(number)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(before) or before is signal.default_int_handler:
        return

    def handler(given: int, frame: FrameType | None) -> None:
        before(given, frame)
        call()

    signal.signal(number, handler)


async def _stop(app: Quart) -> None:
    grace: float = app.config["OUTBOX_GRACE"]
    courier: Courier = app.extensions["outbox_courier"]
    letting_go = asyncio.create_task(courier.stop(grace), name="courier stopping")
    await asyncio.sleep(grace)
    for task in asyncio.all_tasks():
        _hang_up(task.get_coro())
    await letting_go


def _hang_up(coroutine: object) -> None:
    """Close the client's connection if this is Hypercorn's coroutine for one.

    As if the client had left: cancelling its task instead would end Hypercorn with an error.
    """
    frame: FrameType | None = getattr(coroutine, "cr_frame", None)
    if frame is None or frame.f_code.co_name != _CONNECTION:
        return
    writer = frame.f_locals.get("writer")
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()
