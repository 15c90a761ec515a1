"""Hashing passwords with Werkzeug in worker processes: 60 to 180 ms of CPU must not stall the event loop.

Everything in the site that hashes calls this module. The queue is bounded; when it is full, callers get Busy,
which pages answer with 503. Each hash runs to its end in a task of its own, so that a client that disconnects
neither frees its worker too early nor loses it (`tests/faults/test_leaving.py`). Each client address has at
most as many hashes in the queue as there are workers; its other requests wait before they enter the queue.
The site talks to its workers over socket pairs, which need neither a thread nor a child watcher.
"""

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Self
from weakref import WeakValueDictionary

from quart import Quart, current_app, has_request_context

from app.accounts import password_worker
from app.web.security import current_peer

MAX_PASSWORD_LENGTH = 256

QUEUE_PER_PROCESS = 32
"""Hashes that may wait: with two processes, 50 people at once all get an answer within seconds."""

MAX_TRIES = 2
"""Attempts at a hash whose worker is killed, for example by the system when memory runs out."""

DURATIONS_KEPT = 15
WARMING_METHOD = "pbkdf2:sha256:1"  # OpenSSL refuses scrypt this small: "memory limit exceeded"
WORKER_FILE = Path(password_worker.__file__)

log = logging.getLogger(__name__)


class Busy(Exception):
    """The queue for hashing is full, or password workers keep ending; trying again soon can help."""


class WorkerEnded(Exception):
    """The worker ended before it replied."""


@dataclass(eq=False, slots=True)
class Worker:
    """A password worker process and the streams to it; it serves one request at a time."""

    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def start(cls) -> Self:
        """Start a worker process; it serves requests as soon as it has imported Werkzeug."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220, S603 -- returns at once; our own file
                [sys.executable, "-P", WORKER_FILE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # so that Ctrl-C in the terminal does not reach it
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return cls(process, reader, writer)

    async def call(self, function: str, *arguments: str) -> dict[str, Any]:
        """Return the reply of `password_worker`, its "result" or "error"; raises WorkerEnded."""
        try:
            self.writer.write(json.dumps([function, *arguments]).encode() + b"\n")
            line = await self.reader.readline()
        except OSError as error:
            raise WorkerEnded from error
        if not line.endswith(b"\n"):
            raise WorkerEnded
        reply: dict[str, Any] = json.loads(line)
        return reply

    def end(self) -> None:
        """Kill the process and wait for its end, which takes a few milliseconds."""
        self.writer.transport.abort()
        self.process.kill()
        self.process.wait()


class Hasher:
    """The password workers of one app; with `processes` 0 it hashes in this process (for tests)."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self.slots = asyncio.Semaphore(processes)
        self.workers: set[Worker] = set()
        self.idle: list[Worker] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self.durations: deque[float] = deque(maxlen=DURATIONS_KEPT)
        """Seconds that the latest hashes by PASSWORD_HASH_METHOD took."""

    async def run(self, function: str, *arguments: str, peer: str = "") -> tuple[Any, float]:
        """Return the result of a function of `password_worker` and the seconds it took.

        `peer`: the client's address. Raises Busy, and ValueError for a notation that Werkzeug does not know.
        """
        if not self.processes:
            begin = time.perf_counter()
            result = password_worker.FUNCTIONS[function](*arguments)
            return result, time.perf_counter() - begin
        turn = self.turns.setdefault(peer, asyncio.Semaphore(self.processes))
        await turn.acquire()
        if len(self.tasks) >= self.processes * (1 + QUEUE_PER_PROCESS):
            turn.release()
            raise Busy("the queue for hashing passwords is full")
        task = asyncio.create_task(self._run_in_worker(function, *arguments))
        self.tasks.add(task)
        task.add_done_callback(partial(self._forget, turn))
        return await asyncio.shield(task)

    async def run_current(self, function: str, *arguments: str, peer: str = "") -> Any:
        """Return the result of `run`, one hash by PASSWORD_HASH_METHOD, and note how long it took."""
        result, seconds = await self.run(function, *arguments, peer=peer)
        self.durations.append(seconds)
        return result

    async def warm(self, method: str) -> None:
        """Start every worker, so that the first login does not wait for one, and time a hash."""
        await asyncio.gather(*(self.run("generate", "", WARMING_METHOD) for _ in range(self.processes)))
        await self.run_current("generate", "", method)

    async def close(self) -> None:
        """Cancel the hashes in progress and end every worker."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for worker in tuple(self.workers):
            self._end(worker)

    async def _run_in_worker(self, function: str, *arguments: str) -> tuple[Any, float]:
        async with self.slots:
            for _ in range(MAX_TRIES):
                worker = await self._take_worker()
                begin = time.perf_counter()
                try:
                    reply = await worker.call(function, *arguments)
                except WorkerEnded:
                    log.warning("A password worker ended unexpectedly and is being replaced")
                    self._end(worker)
                    continue
                self.idle.append(worker)
                if "error" in reply:
                    raise ValueError(reply["error"])
                return reply["result"], time.perf_counter() - begin
        raise Busy("password workers keep ending")

    async def _take_worker(self) -> Worker:
        """Return an idle worker that is still running, or a new one."""
        while self.idle:
            worker = self.idle.pop()
            if not worker.reader.at_eof():
                return worker
            self._end(worker)
        try:
            worker = await Worker.start()
        except OSError as error:
            raise Busy("a password worker cannot be started") from error
        self.workers.add(worker)
        return worker

    def _end(self, worker: Worker) -> None:
        self.workers.discard(worker)
        worker.end()

    def _forget(self, turn: asyncio.Semaphore, task: asyncio.Task[Any]) -> None:
        turn.release()
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, even when the caller has left


def init_app(app: Quart) -> None:
    """Give `app` its hasher, with workers that start and end with serving."""
    hasher = Hasher(app.config["PASSWORD_PROCESSES"])
    app.extensions["passwords"] = hasher

    @app.before_serving
    async def warm() -> None:
        await hasher.warm(app.config["PASSWORD_HASH_METHOD"])

    @app.after_serving
    async def close() -> None:
        await hasher.close()


async def generate(password: str) -> str:
    """Return the hash of `password` by PASSWORD_HASH_METHOD, in Werkzeug's notation; raises Busy."""
    method: str = current_app.config["PASSWORD_HASH_METHOD"]
    password_hash: str = await _hasher().run_current("generate", password, method, peer=_peer())
    return password_hash


async def matches(stored: str | None, password: str) -> bool:
    """Return whether `password` has the hash `stored`; False takes at least as long as a current hash.

    Otherwise the response time would reveal whether an account exists, and whether its hash is missing,
    unreadable or cheaper (OWASP Authentication Cheat Sheet); only a slower method shows. Raises Busy.
    """
    if is_current(stored):
        return bool(await _hasher().run_current("check", str(stored), password, peer=_peer()))
    matched, seconds, durations = False, None, _hasher().durations
    if stored:
        with suppress(ValueError, TypeError):  # a notation that Werkzeug does not know
            matched, seconds = await _hasher().run("check", stored, password, peer=_peer())
    if not matched and seconds is not None and durations:
        await asyncio.sleep(max(0.0, median(durations) - seconds))  # occupies no worker
    elif not matched:
        await generate(password)
    return matched


def is_current(stored: str | None) -> bool:
    """Return whether `stored` is a whole hash, `method$salt$digest`, made by PASSWORD_HASH_METHOD.

    Werkzeug answers False for one that is not whole, without hashing anything.
    """
    method, *rest = (stored or "").split("$", 2)
    return method == current_app.config["PASSWORD_HASH_METHOD"] and len(rest) == 2 and all(rest)


def _hasher() -> Hasher:
    hasher: Hasher = current_app.extensions["passwords"]
    return hasher


def _peer() -> str:
    return current_peer() if has_request_context() else ""
