"""Delivery by Celery with a real Redis: the broker may fail in every way, and no mail is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from app import create_app, email
from app.migrations import run as migrations
from tests.conftest import CHEAP_HASH
from tests.database_servers import RedisServer
from tests.inspection import database_of
from tests.outbox.site import rows
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.slow

CELERY = [sys.executable, "-m", "celery", "-A", "app.worker"]
WORKER = ("worker", "--pool", "prefork", "--concurrency", "1", "--loglevel", "WARNING")
BEAT = ("beat", "--loglevel", "WARNING", "--pidfile=")
WELL_SECONDS = 40
GRACE_SECONDS = 1.0
ON_BOTH = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])


@pytest.fixture(params=["sqlite"])
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
def config(config: dict[str, Any], redis: RedisServer) -> dict[str, Any]:
    return config | {"MAIL_COURIER": "celery", "CELERY_BROKER_URL": redis.url}


@pytest.fixture
def environment(server: SmtpServer, redis: RedisServer, database_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "DEBUG": "1",
        "DATABASE_URL": database_url,
        "MAIL_COURIER": "celery",
        "CELERY_BROKER_URL": redis.url,
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": str(server.port),
        "PASSWORD_HASH_METHOD": CHEAP_HASH,
        "OUTBOX_POLL": "0.2",
        "OUTBOX_LEASE": "2",
        "OUTBOX_RENEW": "0.5",
    }


@asynccontextmanager
async def celery(
    environment: dict[str, str], *arguments: str, said: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run Celery; what it says goes to the file `said`, if one is given."""
    with ExitStack() as stack:
        output = stack.enter_context(said.open("wb")) if said else None
        process = await asyncio.create_subprocess_exec(
            *CELERY, *arguments, env=environment, start_new_session=True,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(30):
            await process.wait()


async def send(count: int) -> None:
    for number in range(count):
        await email.send_email("Hi", None, [f"ann{number}@example.com"], "Hi!", None)


async def all_sent() -> None:
    async with asyncio.timeout(WELL_SECONDS):
        while set(await rows("state")) != {"sent"}:
            await asyncio.sleep(0.1)


def each_once(server: SmtpServer) -> bool:
    return set(server.arrivals.values()) == {1}


async def test_workers_deliver_and_keep_their_connection(
    app: Quart, server: SmtpServer, environment: dict[str, str]
) -> None:
    async with celery(environment, *WORKER), celery(environment, *BEAT):
        for _ in range(3):
            await send(1)
            await all_sent()
    assert each_once(server)
    assert len(server.messages) == 3
    assert server.reached["greeting"] == 1


async def test_a_broker_that_is_down_or_flushed_delays_mail_and_loses_none(
    app: Quart, server: SmtpServer, environment: dict[str, str], redis: RedisServer
) -> None:
    await redis.stop()
    async with celery(environment, *WORKER), celery(environment, *BEAT):
        async with asyncio.timeout(5):
            await send(5)
        assert set(await rows("state")) == {"queued"}
        await redis.start()
        await redis.flush()
        await all_sent()
    assert each_once(server)


@ON_BOTH
async def test_messages_that_come_many_times_deliver_each_mail_once(
    app: Quart, server: SmtpServer, environment: dict[str, str]
) -> None:
    await send(60)
    two = (*WORKER[:4], "2", *WORKER[5:])
    async with celery(environment, *two):
        ring = "from app.worker import drain; [drain.delay() for _ in range(5)]"
        calling = await asyncio.create_subprocess_exec(sys.executable, "-c", ring, env=environment)
        assert await calling.wait() == 0
        await all_sent()
    assert each_once(server)
    assert len(server.messages) == 60


@ON_BOTH
async def test_a_worker_killed_in_mid_task_loses_nothing(
    app: Quart, server: SmtpServer, environment: dict[str, str]
) -> None:
    server.fail("rcpt", "hang", times=1)
    await send(4)
    async with celery(environment, *BEAT):
        async with celery(environment, *WORKER) as doomed:
            await server.until(lambda: server.hung == 1)
            os.killpg(doomed.pid, 9)
            await doomed.wait()
        async with celery(environment, *WORKER):
            await all_sent()
    assert all(server.arrivals[row.message_id] == 1 or row.in_doubt for row in await rows())


class Silence:
    """A server that accepts and says nothing."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.set()
        try:
            await reader.read()
        finally:
            writer.close()


async def test_a_mute_broker_stops_neither_the_site_nor_beat(
    app: Quart, server: SmtpServer, environment: dict[str, str], redis: RedisServer
) -> None:
    """The broker accepts and says nothing; when it is well again, mail goes out."""

    silence = Silence()
    await redis.stop()
    broker = await asyncio.start_unix_server(silence.listen, redis.socket)
    async with celery(environment, *BEAT) as beat:
        async with asyncio.timeout(5):
            await send(2)
        async with asyncio.timeout(WELL_SECONDS):
            await silence.heard.wait()
        broker.close()
        redis.socket.unlink(missing_ok=True)
        await redis.start()
        async with celery(environment, *WORKER):
            await all_sent()
        assert beat.returncode is None
    assert Path(redis.socket).exists()


RIGHT = {"DEBUG": "1", "CELERY_BROKER_URL": "redis://127.0.0.1:6379/0"}


@pytest.mark.parametrize(
    ("program", "wrong", "line"),
    [
        (WORKER, {"MAIL_PORT": "abc"}, "MAIL_PORT: 'abc' is not accepted; give a whole number"),
        (WORKER, {"MAIL_CA_FILE": "none.pem"}, "MAIL_CA_FILE: 'none.pem' is not accepted"),
        (
            WORKER,
            {"CELERY_BROKER_URL": ""},
            "CELERY_BROKER_URL is missing and MAIL_COURIER is celery",
        ),
        (BEAT, {"DEBUG": "0"}, "SECRET_KEY is missing and DEBUG is off"),
        (BEAT, {"OUTBOX_LEASE": "5"}, "OUTBOX_RENEW: 10 is not accepted; give at most half of"),
    ],
)
def test_a_wrong_setting_stops_a_start_with_one_line(
    program: tuple[str, ...], wrong: dict[str, str], line: str
) -> None:
    done = subprocess.run(
        [*CELERY, *program], env=os.environ | RIGHT | wrong,
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def events(said: Path, words: str) -> list[str]:
    return [line for line in said.read_text().splitlines() if words in line]


async def test_a_database_without_tables_is_said_once_and_waited_out(
    server: SmtpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "new.db"
    path.touch()
    environment["DATABASE_URL"] = f"sqlite:///{path}"
    beat, worker = tmp_path / "beat.log", tmp_path / "worker.log"
    ring = "from app.worker import drain; [drain.delay() for _ in range(3)]"
    async with celery(environment, *BEAT, said=beat), celery(environment, *WORKER, said=worker):
        await (
            await asyncio.create_subprocess_exec(sys.executable, "-c", ring, env=environment)
        ).wait()
        async with asyncio.timeout(WELL_SECONDS):
            while not (events(beat, "upgrade") and events(worker, "upgrade")):
                await asyncio.sleep(0.1)
        site = create_app({"TESTING": True, "DATABASE_URL": environment["DATABASE_URL"]})
        await migrations.upgrade(database_of(site))
        async with site.app_context():
            await send(1)
            await all_sent()
        await database_of(site).dispose()
    for said in (beat, worker):
        assert len(events(said, "upgrade")) == 1
        assert len(events(said, "can be read again")) == 1
        assert "Traceback" not in said.read_text()


async def test_one_event_is_one_line(
    app: Quart, server: SmtpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    server.fail("rcpt", "550 nobody here")
    await send(1)
    said, file = tmp_path / "said.log", tmp_path / "file.log"
    environment["LOG_FORMAT"] = "json"
    async with celery(environment, *BEAT):
        async with celery(environment, *WORKER[:-1], "INFO", "--logfile", str(file), said=said):
            async with asyncio.timeout(WELL_SECONDS):
                while set(await rows("state")) != {"failed"}:
                    await asyncio.sleep(0.1)
        assert len(events(said, "failed")) == len(events(file, "failed")) == 1
        await send(1)
        async with celery(environment, *WORKER[:-1], "INFO", said=said):
            async with asyncio.timeout(WELL_SECONDS):
                while set(await rows("state")) != {"failed"}:
                    await asyncio.sleep(0.1)
    (line,) = events(said, "failed")
    assert json.loads(line)["logger"] == "app.outbox.delivery"
    assert len(events(said, "ready.")) == len(events(file, "ready.")) == 1


def runs(pid: str) -> bool:
    """Say whether there is a process `pid` that does not only wait to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("database_kind", "end"),
    [("sqlite", os.kill), ("postgresql", os.kill), ("sqlite", os.killpg)],
    ids=["sqlite", "postgresql", "each-process"],
)
async def test_a_worker_ends_in_time_and_lets_its_mail_go(
    app: Quart, server: SmtpServer, environment: dict[str, str], end: Callable[[int, int], None]
) -> None:
    """As a service manager stops it: SIGTERM to the worker, or to each of its processes."""
    server.fail("rcpt", "hang")
    await send(6)
    environment["OUTBOX_GRACE"] = str(GRACE_SECONDS)
    async with celery(environment, *BEAT), celery(environment, *WORKER) as worker:
        await server.until(lambda: server.hung > 0)
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
        async with asyncio.timeout(GRACE_SECONDS + 5):
            end(worker.pid, signal.SIGTERM)
            assert await worker.wait() == 0
    assert children
    assert not any(runs(child) for child in children)
    found = await rows()
    assert {(row.state, row.claim_id, row.in_doubt) for row in found} == {("queued", None, False)}
    assert not server.arrivals


async def test_beat_ends_while_it_waits_for_its_database(environment: dict[str, str]) -> None:
    silence = Silence()
    database = await asyncio.start_server(silence.listen, "127.0.0.1", 0)
    port = database.sockets[0].getsockname()[1]
    environment["DATABASE_URL"] = f"postgresql://somebody@127.0.0.1:{port}/x?ssl=disable"
    async with celery(environment, *BEAT) as beat:
        async with asyncio.timeout(WELL_SECONDS):
            await silence.heard.wait()
        beat.terminate()
        async with asyncio.timeout(10):
            assert await beat.wait() == 0
    database.close()


async def test_the_web_process_never_talks_to_the_broker(app: Quart) -> None:
    assert app.config["MAIL_COURIER"] == "celery"
    await send(1)
    assert "courier" not in {task.get_name() for task in asyncio.all_tasks()}
    async with app.test_app():
        await send(1)
        assert "courier" not in {task.get_name() for task in asyncio.all_tasks()}
    assert await rows("state") == ["queued", "queued"]
    imported = {name for name in sys.modules if name.split(".")[0] in ("celery", "kombu")}
    assert not imported
