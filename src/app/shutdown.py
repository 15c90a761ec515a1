"""Stop in time: at SIGTERM the mail worker stops at once, and requests get OUTBOX_GRACE seconds to finish.

Hypercorn closes idle connections itself, but waits for those with a request in progress: on Python 3.11 for
`graceful_timeout`, from 3.12 on without limit, as `asyncio.Server.wait_closed` waits for every connection.
A client that stalls in an upload or does not read its response would keep the process running, so
connections are aborted after the grace period, as if the client had disconnected.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from types import FrameType

from quart import Quart

from app.outbox.courier import Courier
from app.web.connections import abort_connections


def init_app(app: Quart) -> None:
    """Make `app` stop within OUTBOX_GRACE seconds of SIGTERM or SIGINT."""
    stopping: set[asyncio.Task[None]] = set()

    @app.before_serving
    async def handle_signals() -> None:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            stopping.add(asyncio.create_task(_stop(app), name="shutdown"))

        for number in (signal.SIGTERM, signal.SIGINT):
            _add_handler(number, lambda: loop.call_soon_threadsafe(begin))

    @app.after_serving
    async def cancel() -> None:
        for task in stopping:
            task.cancel()


def _add_handler(number: signal.Signals, call: Callable[[], object]) -> None:
    """Run `call` in addition to the server's own handler for the signal, if there is one.

    asyncio learns of signals through a file descriptor, so its handlers still run.
    """
    previous = signal.getsignal(number)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(previous) or previous is signal.default_int_handler:
        return

    def handler(received: int, frame: FrameType | None) -> None:
        previous(received, frame)
        call()

    signal.signal(number, handler)


async def _stop(app: Quart) -> None:
    grace: float = app.config["OUTBOX_GRACE"]
    courier: Courier = app.extensions["outbox_courier"]
    stopping = asyncio.create_task(courier.stop(grace), name="courier stopping")
    await asyncio.sleep(grace)
    abort_connections()
    await stopping
