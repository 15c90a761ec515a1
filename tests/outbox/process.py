"""A process that posts mails and delivers them, and can kill itself at a named point.

Its plan holds the `config` of the site; `post`: the number of mails to post; `kill_at`: a point, and
`kill_after`: the process kills itself with SIGKILL when it reaches the point that many times. It prints `ready`,
then `posted <id>` after the commit of each mail. On SIGUSR1 its outbox's clock jumps past the end of all leases.
"""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

from app.cli.context import close_connections
from app.outbox import courier, delivery, transitions
from app.outbox.delivery import Deliverer
from app.outbox.state import Outbox
from app.quart_mail import Mail
from tests.inspection import courier_of, outbox_of
from tests.outbox.site import make_site, post
from tests.processes import Process, forked

POINTS: dict[str, tuple[Any, str, bool]] = {  # where the function is, its name, die after it
    "claiming": (courier, "claim_due", False),
    "claimed-uncommitted": (courier, "claim_due", True),
    "claimed": (delivery, "compose", False),
    "rendered": (delivery, "compose", True),
    "marked": (delivery, "send", False),
    "sent": (delivery, "send", True),
    "settling": (transitions, "settle", False),
    "settled-uncommitted": (transitions, "settle", True),
    "reported": (Deliverer, "_report", False),
}
BEFORE_DATA = "before-data"
IN_BATCHES = ("claiming", "claimed-uncommitted", "settling", "settled-uncommitted")
"""Points that are reached once for a batch of mails."""


def die_at(point: str, times: int) -> None:
    """Make this process kill itself when it reaches `point` for the `times`-th time."""
    reached = 0

    def reach() -> None:
        nonlocal reached
        reached += 1
        if reached >= times:
            os.kill(os.getpid(), signal.SIGKILL)

    if point == BEFORE_DATA:
        wrap_before_data(reach)
        return
    place, name, after = POINTS[point]
    function = getattr(place, name)

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        if not after:
            reach()
        result = await function(*args, **kwargs)
        if after:
            reach()
        return result

    def plain(*args: Any, **kwargs: Any) -> Any:
        reach()
        return function(*args, **kwargs)

    setattr(place, name, coroutine if asyncio.iscoroutinefunction(function) else plain)


def wrap_before_data(reach: Callable[[], None]) -> None:
    """Call `reach` just before DATA is sent."""
    original = Mail.send

    async def dying(self: Mail, message: Any, *args: Any, before_data: Any, **kwargs: Any) -> Any:
        async def before() -> None:
            await before_data()
            reach()

        return await original(self, message, *args, before_data=before, **kwargs)

    Mail.send = dying  # type: ignore[method-assign,assignment]


def jump(box: Outbox) -> None:
    """Set the outbox's clock forward by more than a lease."""
    box.clock = lambda: datetime.now(UTC) + timedelta(seconds=2 * box.lease)  # type: ignore[method-assign]


async def main(plan: dict[str, Any]) -> None:
    site = make_site(plan["config"])
    if "kill_at" in plan:
        die_at(plan["kill_at"], plan["kill_after"])
    box = outbox_of(site)
    deliverer = courier_of(site)
    signal.signal(signal.SIGUSR1, lambda *_: jump(box))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with site.app_context():
        print("ready", flush=True)
        running = asyncio.create_task(deliverer.run())
        for number in range(plan.get("post", 0)):
            handle = await post("note" if number % 5 else "urgent", to=f"p{number}@example.com")
            print("posted", *handle.ids, flush=True)
        await stop.wait()
        await deliverer.stop(box.grace)
        await running
        await close_connections(site)


def run(plan: dict[str, Any], output: Connection) -> None:
    """Carry out a plan in this process, printing to `output`."""
    warnings.simplefilter("error")
    os.dup2(output.fileno(), 1)
    asyncio.run(main(plan))


class Worker(Process):
    """A process that carries out a plan."""

    @property
    def promised(self) -> list[int]:
        """The ids of the mails it has committed."""
        return [int(id_) for line in self.lines if line[:6] == "posted" for id_ in line.split()[1:]]


@asynccontextmanager
async def worker(config: dict[str, Any], **plan: Any) -> AsyncIterator[Worker]:
    """Carry out a plan in a process of its own; kill it at the end of the block."""
    async with forked(Worker, run, {"config": config, **plan}) as process:
        await process.line("ready")
        yield process
