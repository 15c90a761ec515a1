"""Hashing passwords with Werkzeug, in worker processes: 60 to 180 ms of CPU must not stall the loop.

Everything of the site that hashes calls this module. A bounded number wait; beyond it callers get Busy,
which pages answer with 503. A hash runs to its end in a task of its own when its caller leaves: anyio's
process pool does not survive cancellation (400 early leavers left 50 processes, measured).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_process
from quart import Quart, current_app
from werkzeug.security import check_password_hash, generate_password_hash

LONGEST_PASSWORD = 256
QUEUE_PER_PROCESS = 16
WARMING_METHOD = "pbkdf2:sha256:1"  # OpenSSL refuses scrypt this small: "memory limit exceeded"

T = TypeVar("T")


class Busy(Exception):
    """More passwords wait for hashing than the queue holds; trying again in a few seconds can help."""


class Hasher:
    """The worker processes of one app; with `processes` 0 it hashes in this process (for tests)."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.limiter: CapacityLimiter | None = None
        self.tasks: set[asyncio.Task[Any]] = set()

    async def run(self, function: Callable[..., T], *arguments: str) -> T:
        """Return `function(*arguments)`; raise Busy when the queue is full."""
        if not self.processes:
            return function(*arguments)
        if len(self.tasks) >= self.processes * (1 + QUEUE_PER_PROCESS):
            raise Busy("too many passwords wait for hashing")
        if self.limiter is None:
            self.limiter = CapacityLimiter(self.processes)
        work = to_process.run_sync(partial(function, *arguments), limiter=self.limiter)
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when whoever waited for it has left

    async def warm(self) -> None:
        """Start every worker process, so that the first login does not wait for one."""
        await asyncio.gather(
            *(self.run(generate_password_hash, "", WARMING_METHOD) for _ in range(self.processes))
        )


def init_app(app: Quart) -> None:
    """Give `app` its hasher, warmed when serving begins."""
    hasher = Hasher(app.config["PASSWORD_PROCESSES"])
    app.extensions["passwords"] = hasher

    @app.before_serving
    async def warm() -> None:
        _watch_children_without_threads()
        await hasher.warm()


async def generate(password: str) -> str:
    """Return the hash of `password` by PASSWORD_HASH_METHOD, in Werkzeug's notation; raises Busy."""
    return await _hasher().run(
        generate_password_hash, password, current_app.config["PASSWORD_HASH_METHOD"]
    )


async def matches(stored: str | None, password: str) -> bool:
    """Return whether `password` has the hash `stored`, in no less time than a current hash takes.

    A missing, unreadable or cheaper hash costs one current hash as well, so that the time of an answer
    tells nothing about the account (OWASP Authentication Cheat Sheet). Raises Busy.
    """
    if is_current(stored):
        assert stored is not None  # noqa: S101 -- is_current says so
        return await _hasher().run(check_password_hash, stored, password)
    await generate(password)
    if not stored:
        return False
    try:
        return await _hasher().run(check_password_hash, stored, password)
    except (ValueError, TypeError):  # a notation that Werkzeug does not know
        return False


def is_current(stored: str | None) -> bool:
    """Return whether `stored` was made by today's PASSWORD_HASH_METHOD."""
    return (
        bool(stored) and str(stored).split("$", 1)[0] == current_app.config["PASSWORD_HASH_METHOD"]
    )


def _hasher() -> Hasher:
    hasher: Hasher = current_app.extensions["passwords"]
    return hasher


def _watch_children_without_threads() -> None:
    """Choose 3.12's default child watcher on 3.11, whose own default starts a thread per child."""
    if sys.version_info < (3, 12):
        watcher = _Watcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.get_event_loop_policy().set_child_watcher(watcher)


if sys.version_info < (3, 12):

    class _Watcher(asyncio.PidfdChildWatcher):
        """A watcher that sees every child to its end.

        anyio asks the watcher to forget its killed workers when the main task ends, and then waits
        for their ends: for ever with the plain one, so that no process of ours would stop.
        """

        def remove_child_handler(self, pid: int) -> bool:
            return False
