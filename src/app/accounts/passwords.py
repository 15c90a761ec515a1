"""Hashing passwords with Werkzeug, in worker processes: 60 to 180 ms of CPU must not stall the loop.

Everything of the site that hashes calls this module. A bounded number wait; beyond it callers get Busy,
which pages answer with 503. A hash runs to its end in a task of its own when its caller leaves: anyio's
process pool does not survive cancellation (400 early leavers left 50 processes, measured).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, TypeVar

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process
from quart import Quart, current_app
from werkzeug.security import check_password_hash, generate_password_hash

from app.accounts import children

MAX_PASSWORD_LENGTH = 256
QUEUE_PER_PROCESS = 32
"""So that, with the default of two processes, 50 people at once all get an answer, the last after seconds."""

TRIES = 2
"""How often a hash is begun whose process is killed, by the system short of memory, say."""

TIMES_KEPT = 15
WARMING_METHOD = "pbkdf2:sha256:1"  # OpenSSL refuses scrypt this small: "memory limit exceeded"

T = TypeVar("T")
log = logging.getLogger(__name__)


class Busy(Exception):
    """More passwords wait than the queue holds, or hashing processes die; trying again soon can help."""


class Hasher:
    """The worker processes of one app; with `processes` 0 it hashes in this process (for tests)."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.limiter: CapacityLimiter | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self.usual: deque[float] = deque(maxlen=TIMES_KEPT)
        """How many seconds hashes by today's method took lately."""

    async def run(self, function: Callable[..., T], *arguments: str) -> tuple[T, float]:
        """Return `function(*arguments)` and its seconds; raise Busy when the queue is full."""
        if not self.processes:
            return _timed(function, *arguments)
        if len(self.tasks) >= self.processes * (1 + QUEUE_PER_PROCESS):
            raise Busy("too many passwords wait for hashing")
        if self.limiter is None:
            self.limiter = CapacityLimiter(self.processes)
            _keep_program_out_of_workers()
        task = asyncio.create_task(self._work(self.limiter, partial(function, *arguments)))
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    @staticmethod
    async def _work(slots: CapacityLimiter, work: Callable[[], T]) -> tuple[T, float]:
        async with slots:
            for _ in range(TRIES):
                begin = time.perf_counter()
                try:
                    result = await to_process.run_sync(work, limiter=CapacityLimiter(1))
                except BrokenWorkerProcess:
                    log.warning("a hashing process has died")
                else:
                    return result, time.perf_counter() - begin
        raise Busy("hashing processes die")

    async def run_current(self, function: Callable[..., T], *arguments: str) -> T:
        """Return what `function` returns, which is known to take one hash by today's method."""
        result, seconds = await self.run(function, *arguments)
        self.usual.append(seconds)
        return result

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when whoever waited for it has left

    async def warm(self, method: str) -> None:
        """Start every worker process, so that the first login does not wait for one, and time a hash."""
        await asyncio.gather(
            *(self.run(generate_password_hash, "", WARMING_METHOD) for _ in range(self.processes))
        )
        await self.run_current(generate_password_hash, "", method)


def _timed(function: Callable[..., T], *arguments: str) -> tuple[T, float]:
    begin = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begin


def init_app(app: Quart) -> None:
    """Give `app` its hasher, warmed when serving begins."""
    hasher = Hasher(app.config["PASSWORD_PROCESSES"])
    app.extensions["passwords"] = hasher

    @app.before_serving
    async def warm() -> None:
        if hasher.processes:
            children.watch_without_threads()
        await hasher.warm(app.config["PASSWORD_HASH_METHOD"])


async def generate(password: str) -> str:
    """Return the hash of `password` by PASSWORD_HASH_METHOD, in Werkzeug's notation; raises Busy."""
    method: str = current_app.config["PASSWORD_HASH_METHOD"]
    return await _hasher().run_current(generate_password_hash, password, method)


async def matches(stored: str | None, password: str) -> bool:
    """Return whether `password` has the hash `stored`; "no" takes the time of a current hash at least.

    So the time of an answer does not tell accounts with a missing, unreadable or cheaper hash from others
    and from none (OWASP Authentication Cheat Sheet); only a dearer one shows. Raises Busy.
    """
    if is_current(stored):
        return await _hasher().run_current(check_password_hash, str(stored), password)
    if not stored:
        await generate(password)
        return False
    try:
        matched, seconds = await _hasher().run(check_password_hash, stored, password)
    except (ValueError, TypeError):  # a notation that Werkzeug does not know
        await generate(password)
        return False
    if not matched:
        await _make_up_for(password, seconds)
    return matched


async def _make_up_for(password: str, seconds: float) -> None:
    """Take as long as a current hash, of which `seconds` have gone into a cheaper one.

    Waiting takes no slot from others; before it is known how long to wait, a hash is made for nothing.
    """
    usual = _hasher().usual
    if usual:
        await asyncio.sleep(max(0.0, median(usual) - seconds))
    else:
        await generate(password)


def is_current(stored: str | None) -> bool:
    """Return whether `stored` is whole, `method$salt$digest`, and made by today's PASSWORD_HASH_METHOD.

    Werkzeug says no to one that is not whole without hashing anything.
    """
    method, *rest = (stored or "").split("$", 2)
    return method == current_app.config["PASSWORD_HASH_METHOD"] and len(rest) == 2 and all(rest)


def _hasher() -> Hasher:
    hasher: Hasher = current_app.extensions["passwords"]
    return hasher


def _keep_program_out_of_workers() -> None:
    """Let workers be bare: anyio has each run the main program's file, `app` and all (60 MB), if it knows it.

    On Python 3.13 that fails as well: while it runs there is no module `__main__`, which imports look for.
    """
    vars(sys.modules["__main__"]).pop("__file__", None)
