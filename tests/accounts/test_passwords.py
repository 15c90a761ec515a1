"""Hashing passwords: its cost, and the worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select
from werkzeug.security import generate_password_hash

from app.accounts import passwords
from app.accounts.models import User
from app.accounts.passwords import Busy, Hasher
from app.database import reading, writing
from tests.clients import Visitor
from tests.conftest import CHEAP_HASH
from tests.factories import PASSWORD, make_user
from tests.processes import PATIENCE_SECONDS, served_site

SLOW = "pbkdf2:sha256:600000"


class CountingHasher(Hasher):
    """A hasher that records the arguments of every hash."""

    def __init__(self) -> None:
        super().__init__(0)
        self.hashed: list[str] = []
        self.peers: set[str] = set()

    async def run(self, function: str, *arguments: str, peer: str = "") -> tuple[Any, float]:
        self.hashed += arguments
        self.peers.add(peer)
        return await super().run(function, *arguments)


@pytest.fixture
def hasher(app: Quart) -> CountingHasher:
    hasher = CountingHasher()
    app.extensions["passwords"] = hasher
    return hasher


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("length", [257, 1_000_000])
async def test_a_huge_password_is_never_hashed(app: Quart, hasher: CountingHasher, length: int) -> None:
    await make_user("susan")
    huge, visitor = "x" * length, Visitor(app)
    pages = [
        await visitor.log_in("susan", huge),
        await visitor.register("other", huge),
        await visitor.submit(await _reset_link(app), password=huge, password2=huge),
    ]
    assert {page.status for page in pages} <= {200, 413}
    assert hasher.hashed == []
    await visitor.log_in("susan")
    assert hasher.hashed != []


async def _reset_link(app: Quart) -> str:
    async with writing() as session:
        user = (await session.scalars(select(User).where(User.username == "susan"))).one()
        return f"/reset_password/{user.get_reset_password_token()}"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_an_unknown_name_and_a_missing_hash_cost_one_hash(app: Quart, hasher: CountingHasher) -> None:
    await make_user("susan", password_hash=None)
    for name in ("susan", "nobody"):
        hasher.hashed.clear()
        await Visitor(app).log_in(name, "battery staple")
        assert hasher.hashed == ["battery staple", app.config["PASSWORD_HASH_METHOD"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("confirm", [False, True])
async def test_a_taken_name_costs_no_hash(app: Quart, hasher: CountingHasher, confirm: bool) -> None:
    app.config["CONFIRM_EMAIL"] = confirm
    await make_user("susan")
    page = await Visitor(app).register("SUSAN")
    assert page.errors("username") == ["Please use a different username."]
    assert hasher.hashed == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_taken_address_costs_as_much_as_a_free_one(app: Quart, hasher: CountingHasher) -> None:
    app.config["CONFIRM_EMAIL"] = True
    await make_user("susan", email="david@example.com")
    assert (await Visitor(app).register("david")).location == "/login"
    assert hasher.hashed == [PASSWORD, app.config["PASSWORD_HASH_METHOD"]]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    "stored",
    [generate_password_hash("x", "pbkdf2:sha256:1"), SLOW, f"{SLOW}$salt"],
    ids=["cheaper", "nothing", "only a salt"],
)
async def test_a_wrong_password_takes_as_long_for_a_cheaper_or_broken_hash(
    app: Quart, hasher: CountingHasher, stored: str
) -> None:
    app.config["PASSWORD_HASH_METHOD"] = SLOW
    await make_user("susan", password_hash=stored)
    await make_user("david", password_hash=generate_password_hash("x", SLOW))
    loop = asyncio.get_running_loop()
    times: dict[str, list[float]] = {"susan": [], "david": []}
    for _ in range(20):  # until the shortest times, which a busy machine lengthens, are right
        for name in ("david", "susan"):
            begin = loop.time()
            assert (await Visitor(app).log_in(name, "battery staple")).location is None
            times[name].append(loop.time() - begin)
        shortest = min(times["david"]) / 2
        if len(times["david"]) >= 4 and min(times["susan"]) > shortest < min(hasher.durations):
            break
    assert min(times["susan"]) > shortest
    assert min(hasher.durations) > shortest  # such answers are padded to these


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_only_the_right_password_upgrades_an_old_hash(app: Quart) -> None:
    await make_user("susan", password_hash=generate_password_hash("battery staple", "pbkdf2:sha256:3"))
    visitor = Visitor(app)
    async with reading() as connection:
        before = await connection.scalar(select(User.password_hash))
        await visitor.log_in("susan", "wrong horse")
        assert await connection.scalar(select(User.password_hash)) == before
        assert (await visitor.log_in("susan", "battery staple")).location == "/index"
        assert passwords.is_current(await connection.scalar(select(User.password_hash)))


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_full_queue_is_answered_with_503_and_retry_after(app: Quart) -> None:
    class Full(Hasher):
        async def run(self, function: str, *arguments: str, peer: str = "") -> tuple[Any, float]:
            raise Busy

    await make_user("susan")
    app.extensions["passwords"] = Full(0)
    page = await Visitor(app).log_in("susan")
    assert page.status == 503
    assert int(page.response.headers["Retry-After"]) > 0


SLOW_HASH = ("generate", "x", "pbkdf2:sha256:600000")
QUICK_HASH = ("generate", "x", CHEAP_HASH)


@pytest.fixture
async def pool() -> AsyncIterator[Hasher]:
    """A hasher with one worker, which has started."""
    hasher = Hasher(1)
    await hasher.warm(CHEAP_HASH)
    yield hasher
    await hasher.close()


def child_processes() -> set[int]:
    """Return the ids of this process's children; servers of other fixtures may be among them."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def worker_of(hasher: Hasher) -> int:
    [worker] = hasher.workers
    assert worker.process.pid in child_processes()
    return worker.process.pid


async def test_a_hash_runs_to_its_end_when_its_client_leaves(pool: Hasher) -> None:
    before = child_processes()
    capacity = pool.processes * (1 + passwords.QUEUE_PER_PROCESS)
    waiting = [
        asyncio.create_task(pool.run("generate", "x", "pbkdf2:sha256:20000", peer=f"192.0.2.{n}"))
        for n in range(capacity)
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    for task in waiting:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    with pytest.raises(Busy):
        await pool.run(*QUICK_HASH)
    await asyncio.gather(*pool.tasks)
    result, seconds = await pool.run(*QUICK_HASH)
    assert result.startswith(CHEAP_HASH)
    assert seconds > 0
    assert child_processes() == before


async def test_many_hashes_for_one_client_delay_another_client_by_one(pool: Hasher) -> None:
    done: list[str] = []

    async def hash_for(peer: str) -> None:
        await pool.run(*QUICK_HASH, peer=peer)
        done.append(peer)

    many = 3 * passwords.QUEUE_PER_PROCESS
    await asyncio.gather(*(hash_for(peer) for peer in ["greedy"] * many + ["other"]))
    assert done.index("other") <= 1
    assert len(done) == many + 1
    assert not pool.turns


async def test_clients_that_leave_do_not_get_more_of_the_queue(pool: Hasher) -> None:
    leaving = [asyncio.create_task(pool.run(*QUICK_HASH, peer="greedy")) for _ in range(50)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    assert len(pool.tasks) == 1
    await pool.run(*QUICK_HASH, peer="greedy")


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_hashes_are_counted_for_the_address_of_the_client(app: Quart, hasher: CountingHasher) -> None:
    visitor = Visitor(app)
    token = (await visitor.get("/login")).token
    form = {"username": "susan", "password": PASSWORD, "csrf_token": token}
    await visitor.client.post("/login", form=form, scope_base={"client": ("192.0.2.7", 40000)})
    assert hasher.peers == {"192.0.2.7"}


async def test_a_worker_killed_during_a_hash_is_replaced_and_the_hash_done(pool: Hasher) -> None:
    first = worker_of(pool)
    hashing = asyncio.create_task(pool.run(*SLOW_HASH))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    assert (await hashing)[0].startswith("pbkdf2:sha256:600000$")
    assert worker_of(pool) != first
    assert first not in child_processes()


async def test_an_idle_worker_that_was_killed_is_replaced(pool: Hasher) -> None:
    first = worker_of(pool)
    os.kill(first, signal.SIGKILL)
    for _ in range(2):
        assert (await pool.run(*QUICK_HASH))[0].startswith(CHEAP_HASH)
    assert worker_of(pool) != first


async def test_workers_that_keep_ending_are_answered_with_busy(
    pool: Hasher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken_worker.py"
    broken.touch()
    os.kill(worker_of(pool), signal.SIGKILL)
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "WORKER_FILE", broken)
        with pytest.raises(Busy):
            await pool.run(*QUICK_HASH)
    assert (await pool.run(*QUICK_HASH))[0].startswith(CHEAP_HASH)


async def test_an_unknown_notation_does_not_cost_the_worker(pool: Hasher) -> None:
    first = worker_of(pool)
    with pytest.raises(ValueError, match="nonsense"):
        await pool.run("check", "nonsense$salt$digest", "x")
    assert (await pool.run(*QUICK_HASH))[0].startswith(CHEAP_HASH)
    assert worker_of(pool) == first


async def test_workers_need_no_thread_and_passwords_stay_out_of_proc(pool: Hasher) -> None:
    threads = len(os.listdir("/proc/self/task"))
    second = Hasher(2)
    await second.warm(CHEAP_HASH)
    hashes = await asyncio.gather(*(second.run("generate", "пароль🐴", CHEAP_HASH) for _ in range(4)))
    assert len(hashes) == 4
    assert len(os.listdir("/proc/self/task")) == threads
    await pool.run("generate", "a-secret-password", CHEAP_HASH)
    for name in ("cmdline", "environ"):
        assert b"a-secret-password" not in Path(f"/proc/{worker_of(pool)}/{name}").read_bytes()
    await second.close()
    assert not second.workers


def is_running(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_workers_end_with_the_site(tmp_path: Path, database_url: str, end: signal.Signals) -> None:
    async with served_site(tmp_path, database_url, PASSWORD_PROCESSES="4") as site:
        workers = site.children()
        assert len(workers) == 4
        site.signal(end)
        await site.end()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(is_running(pid) for pid in workers):
                await asyncio.sleep(0.01)
    unexpected = [line for line in site.lines if not re.search(r" (INFO|DEBUG) |^\[", line)]
    assert unexpected == []
