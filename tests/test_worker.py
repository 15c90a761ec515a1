"""Delivery by Celery with a real Redis: no mail is lost, however the broker fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from app import create_app, email
from app.migrations import run as migrations
from tests.conftest import CHEAP_HASH
from tests.database_servers import RedisServer
from tests.inspection import database_of
from tests.outbox.site import make_due, rows
from tests.processes import Process, forked_program, run
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.slow

APP = ("-A", "app.worker")
WORKER = ("worker", "--pool", "prefork", "--concurrency", "1", "--loglevel", "WARNING")
BEAT = ("beat", "--loglevel", "WARNING", "--pidfile=")
WELL_SECONDS = 60
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
        "DEBUG": "1",
        "DATABASE_URL": database_url,
        "MAIL_COURIER": "celery",
        "CELERY_BROKER_URL": redis.url,
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": str(server.port),
        "PASSWORD_HASH_METHOD": CHEAP_HASH,
        "OUTBOX_POLL": "0.2",
    }


@asynccontextmanager
async def celery(environment: dict[str, str], *arguments: str) -> AsyncIterator[Process]:
    """Run Celery in a process group of its own."""
    command = ("celery.__main__:main", *APP, *arguments)
    async with forked_program(Process, *command, folder=None, read="both", **environment) as process:
        yield process


async def send_task_messages(environment: dict[str, str], count: int) -> None:
    """Send Celery's workers `count` messages that there is mail to deliver."""
    command = ("tests.test_worker:delay_drains", str(count))
    async with forked_program(Process, *command, folder=None, read="both", **environment) as process:
        assert await process.end() == 0, process.lines


def delay_drains() -> None:
    """Send the messages, in a process that may import Celery."""
    from app.worker import drain

    for _ in range(int(sys.argv[1])):
        drain.delay()


async def send(count: int) -> None:
    for number in range(count):
        await email.send_email("Hi", None, [f"ann{number}@example.com"], "Hi!", None)


async def all_are(state: str) -> None:
    """Wait until every mail has this state."""
    async with asyncio.timeout(WELL_SECONDS):
        while set(await rows("state")) != {state}:
            await asyncio.sleep(0.1)  # another process writes it: there is no event to wait for


def each_once(server: SmtpServer) -> bool:
    return set(server.arrivals.values()) == {1}


async def test_workers_deliver_and_keep_their_connection(
    app: Quart, server: SmtpServer, environment: dict[str, str]
) -> None:
    async with celery(environment, *WORKER), celery(environment, *BEAT):
        for _ in range(3):
            await send(1)
            await all_are("sent")
    assert each_once(server)
    assert len(server.messages) == 3
    assert server.reached["greeting"] == 1


async def test_a_broker_that_is_down_or_flushed_delays_mail_but_loses_none(
    app: Quart, server: SmtpServer, environment: dict[str, str], redis: RedisServer
) -> None:
    await redis.stop()
    async with celery(environment, *WORKER), celery(environment, *BEAT):
        async with asyncio.timeout(WELL_SECONDS):
            await send(5)
        assert set(await rows("state")) == {"queued"}
        await redis.start()
        await redis.flush()
        await all_are("sent")
    assert each_once(server)


@ON_BOTH
async def test_repeated_task_messages_deliver_each_mail_once(
    app: Quart, server: SmtpServer, environment: dict[str, str]
) -> None:
    await send(60)
    two = (*WORKER[:4], "2", *WORKER[5:])
    async with celery(environment, *two):
        await send_task_messages(environment, 5)
        await all_are("sent")
    assert each_once(server)
    assert len(server.messages) == 60


@ON_BOTH
async def test_a_worker_killed_in_mid_task_loses_no_mail(
    app: Quart, server: SmtpServer, environment: dict[str, str]
) -> None:
    server.fail("rcpt", "hang", times=1)
    await send(4)
    async with celery(environment, *BEAT):
        async with celery(environment, *WORKER) as doomed:
            await server.until(lambda: server.hung == 1, seconds=WELL_SECONDS)
            os.killpg(doomed.pid, signal.SIGKILL)
            assert await doomed.end() == -signal.SIGKILL
        await make_due()  # as when its lease has ended
        async with celery(environment, *WORKER):
            await all_are("sent")
    assert all(server.arrivals[row.message_id] == 1 or row.in_doubt for row in await rows())


class SilentServer:
    """A server that accepts connections and never answers."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        try:
            await reader.read()
        finally:
            writer.close()


async def test_a_silent_broker_stops_neither_the_site_nor_beat(
    app: Quart, server: SmtpServer, environment: dict[str, str], redis: RedisServer
) -> None:
    silent = SilentServer()
    await redis.stop()
    broker = await asyncio.start_unix_server(silent.listen, redis.socket)
    async with celery(environment, *BEAT) as beat:
        async with asyncio.timeout(WELL_SECONDS):
            await send(2)
        async with asyncio.timeout(WELL_SECONDS):
            await silent.connected.wait()
        broker.close()
        redis.socket.unlink(missing_ok=True)
        await redis.start()
        async with celery(environment, *WORKER):
            await all_are("sent")
        assert beat.status is None
    assert Path(redis.socket).exists()


RIGHT = {"DEBUG": "1", "CELERY_BROKER_URL": "redis://127.0.0.1:6379/0"}


@pytest.mark.parametrize(
    ("command", "wrong", "line"),
    [
        (WORKER, {"MAIL_PORT": "abc"}, "MAIL_PORT: 'abc' is not accepted; give a whole number"),
        (WORKER, {"MAIL_CA_FILE": "none.pem"}, "MAIL_CA_FILE: 'none.pem' is not accepted"),
        (WORKER, {"CELERY_BROKER_URL": ""}, "CELERY_BROKER_URL is missing and MAIL_COURIER is celery"),
        (BEAT, {"DEBUG": "0"}, "SECRET_KEY is missing and DEBUG is off"),
        (BEAT, {"OUTBOX_LEASE": "5"}, "OUTBOX_RENEW: 10 is not accepted; give at most half of"),
    ],
)
async def test_a_wrong_setting_stops_a_start_with_one_line(
    command: tuple[str, ...], wrong: dict[str, str], line: str
) -> None:
    async with celery(RIGHT | wrong, *command) as process:
        assert await process.end() == 1
    (printed,) = process.lines
    assert printed.startswith(line)


def test_celery_itself_says_so_in_one_line_too() -> None:
    """Not forked like the others: the README's command, in a process that has imported nothing."""
    command = str(Path(sys.executable).with_name("celery"))
    done = run(command, *APP, *WORKER, **(RIGHT | {"MAIL_PORT": "abc"}))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("MAIL_PORT: 'abc' is not accepted; give a whole number")
    assert done.stderr.count("\n") == 1


def events(lines: list[str], words: str) -> list[str]:
    return [line for line in lines if words in line]


async def test_a_missing_schema_is_logged_once_until_the_database_is_upgraded(
    server: SmtpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "new.db"
    path.touch()
    environment["DATABASE_URL"] = f"sqlite:///{path}"
    async with celery(environment, *BEAT) as beat, celery(environment, *WORKER) as worker:
        await send_task_messages(environment, 3)
        await beat.line("upgrade")
        await worker.line("upgrade")
        site = create_app({"TESTING": True, "DATABASE_URL": environment["DATABASE_URL"]})
        await migrations.upgrade(database_of(site))
        async with site.app_context():
            await send(1)
            await all_are("sent")
        await database_of(site).dispose()
        await beat.line("can be read again")
    for process in (beat, worker):
        assert len(events(process.lines, "upgrade")) == 1
        assert len(events(process.lines, "can be read again")) == 1
        assert "Traceback" not in "".join(process.lines)


async def test_one_event_is_one_line(
    app: Quart, server: SmtpServer, environment: dict[str, str], tmp_path: Path
) -> None:
    server.fail("rcpt", "550 nobody here")
    await send(1)
    file = tmp_path / "file.log"
    environment["LOG_FORMAT"] = "json"
    async with celery(environment, *BEAT):
        async with celery(environment, *WORKER[:-1], "INFO", "--logfile", str(file)) as worker:
            await all_are("failed")
        in_file = file.read_text().splitlines()
        assert len(events(worker.lines, "failed")) == len(events(in_file, "failed")) == 1
        await send(1)
        async with celery(environment, *WORKER[:-1], "INFO") as worker:
            await all_are("failed")
    (line,) = events(worker.lines, "failed")
    assert json.loads(line)["logger"] == "app.outbox.delivery"
    assert len(events(worker.lines, "ready.")) == len(events(in_file, "ready.")) == 1


def is_running(pid: int) -> bool:
    """Say whether the process `pid` exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("database_kind", "end"),
    [("sqlite", os.kill), ("postgresql", os.kill), ("sqlite", os.killpg)],
    ids=["sqlite", "postgresql", "each-process"],
)
async def test_a_worker_ends_in_time_and_releases_its_mails(
    app: Quart, server: SmtpServer, environment: dict[str, str], end: Callable[[int, int], None]
) -> None:
    """As a service manager stops it: SIGTERM to the worker, or to each of its processes."""
    server.fail("rcpt", "hang")
    await send(6)
    environment |= {"OUTBOX_GRACE": "1", "OUTBOX_DEADLINE": "600"}
    async with celery(environment, *BEAT), celery(environment, *WORKER) as worker:
        await server.until(lambda: server.hung > 0, seconds=WELL_SECONDS)
        children = worker.children()
        end(worker.pid, signal.SIGTERM)
        assert await worker.end() == 0
    assert children
    assert not any(is_running(child) for child in children)
    found = await rows()
    assert {(row.state, row.claim_id, row.in_doubt) for row in found} == {("queued", None, False)}
    assert not server.arrivals


async def test_beat_ends_while_it_waits_for_its_database(environment: dict[str, str]) -> None:
    silent = SilentServer()
    database = await asyncio.start_server(silent.listen, "127.0.0.1", 0)
    port = database.sockets[0].getsockname()[1]
    environment["DATABASE_URL"] = f"postgresql://somebody@127.0.0.1:{port}/x?ssl=disable"
    async with celery(environment, *BEAT) as beat:
        async with asyncio.timeout(WELL_SECONDS):
            await silent.connected.wait()
        async with asyncio.timeout(WELL_SECONDS):
            assert await beat.terminate() == 0
    database.close()


async def test_the_web_process_neither_delivers_nor_connects_to_the_broker(app: Quart) -> None:
    assert app.config["MAIL_COURIER"] == "celery"
    await send(1)
    assert "courier" not in {task.get_name() for task in asyncio.all_tasks()}
    async with app.test_app():
        await send(1)
        assert "courier" not in {task.get_name() for task in asyncio.all_tasks()}
    assert await rows("state") == ["queued", "queued"]
    imported = {name for name in sys.modules if name.split(".")[0] in ("celery", "kombu")}
    assert not imported
