"""Hearing of the ends of hashing processes, on Python 3.11 as on later ones: without a thread for each."""

from __future__ import annotations

import asyncio
import logging
import os
import sys


def watch_without_threads() -> None:
    """Choose a child watcher by pidfd on 3.11, whose own default starts a thread per child."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        watcher = _Watcher()
        watcher.attach_loop(asyncio.get_running_loop())
        asyncio.get_event_loop_policy().set_child_watcher(watcher)
    else:
        logging.getLogger("asyncio").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what later Pythons say of a child that anyio has reaped: there is nothing to be done."""
    return "exit status already read" not in str(record.msg)


if sys.version_info < (3, 12):
    from collections.abc import Callable
    from types import TracebackType
    from typing import TypeVarTuple

    Ts = TypeVarTuple("Ts")

    REAPED_ELSEWHERE = 255
    """The status told of a child whose own one somebody else has taken; asyncio's choice too."""

    class _Watcher(asyncio.AbstractChildWatcher):
        """A watcher by pidfd, as asyncio's own, but for two things that anyio does to its workers at the end.

        It asks the watcher to forget its killed workers and then waits for their ends: for ever with
        asyncio's, so that no process of ours would stop. And it closes their transports, which may take a
        child's status before the watcher does: asyncio's warns of that, and there is nothing to be done.
        """

        def __init__(self) -> None:
            self.loop: asyncio.AbstractEventLoop | None = None
            self.pidfds: set[int] = set()

        def attach_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
            """Watch from `loop`; what was watched from another is forgotten."""
            for pidfd in tuple(self.pidfds):
                self._forget(pidfd)
            self.loop = loop

        def close(self) -> None:
            """Watch no more."""
            self.attach_loop(None)

        def is_active(self) -> bool:
            """Return whether the ends of children are heard."""
            return self.loop is not None and self.loop.is_running()

        def __enter__(self) -> _Watcher:
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> None:
            pass

        def add_child_handler(
            self, pid: int, callback: Callable[[int, int, *Ts], object], *args: *Ts
        ) -> None:
            """Call `callback(pid, status, *args)` when the child `pid` has ended."""
            assert self.loop is not None  # noqa: S101 -- asyncio asks is_active() first
            pidfd = os.pidfd_open(pid)
            self.pidfds.add(pidfd)
            self.loop.add_reader(pidfd, self._ended, pidfd, pid, callback, *args)

        def remove_child_handler(self, pid: int) -> bool:
            """Go on watching: somebody waits."""
            return False

        def _ended(
            self, pidfd: int, pid: int, callback: Callable[[int, int, *Ts], object], *args: *Ts
        ) -> None:
            self._forget(pidfd)
            try:
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            except ChildProcessError:
                status = REAPED_ELSEWHERE
            callback(pid, status, *args)

        def _forget(self, pidfd: int) -> None:
            assert self.loop is not None  # noqa: S101 -- what is watched is watched from a loop
            self.pidfds.discard(pidfd)
            self.loop.remove_reader(pidfd)
            os.close(pidfd)
