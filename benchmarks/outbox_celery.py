"""Durable mails per second, from commit to `sent`, with Celery and Redis, compared with Flask-Mail.

    python -m benchmarks.outbox_celery [--count 1000] [--rounds 3] [--workers 1 2] [--databases sqlite]

Beat polls every OUTBOX_POLL seconds; the first figure includes that wait, the second starts when the first
mail is sent. The mails are ready-made messages, because a real worker does not know a benchmark's kinds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

from quart import current_app
from sqlalchemy import func, select

from app import outbox
from app.database import reading, writing
from app.outbox.models import Delivery, State
from app.quart_mail import Message
from benchmarks import mailers, outbox_site, sink
from tests.database_servers import RedisServer

WARMING = 120  # mails before the first round: more than one task's, so that two workers start
END_SECONDS = 120
CELERY = (sys.executable, "-m", "celery", "-A", "app.worker")
SETTINGS = {"TESTING": "1", "MAIL_SERVER": "127.0.0.1", "MAIL_SUPPRESS_SEND": "0", "PASSWORD_PROCESSES": "0"}
GRACE_SECONDS = 30


@asynccontextmanager
async def celery(settings: Mapping[str, str], *words: str) -> AsyncIterator[None]:
    """Run `celery` with `words` on a site with `settings`; end it and its children."""
    process = await asyncio.create_subprocess_exec(
        *(*CELERY, *words, "--loglevel", "WARNING"),
        env={**os.environ, **SETTINGS, **settings},
        stdout=DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def fill(count: int) -> None:
    """Store `count` ready-made mails that are due now, in one transaction."""
    async with writing() as session:
        for number in range(count):
            await outbox.post_message(session, Message(**mailers.arguments(number)))


async def all_sent() -> None:
    """Wait until every mail is sent."""
    unsent = select(func.count()).select_from(Delivery).where(Delivery.state != State.SENT)
    async with asyncio.timeout(END_SECONDS):
        while True:
            async with reading() as connection:
                if not (await connection.execute(unsent)).scalar_one():
                    return
            await asyncio.sleep(0.05)


async def deliver(running: sink.Sink, count: int) -> tuple[float, float]:
    """Return the mails per second of one round: from commit, and from the first mail."""
    await asyncio.sleep(random.uniform(0, current_app.config["OUTBOX_POLL"]))  # a random phase of beat
    (accepted, _), at = running.usage(), datetime.now(UTC)
    await fill(count)
    committed = datetime.now(UTC)
    await all_sent()
    end = datetime.now(UTC)
    if (arrived := running.usage()[0] - accepted) != count:
        raise SystemExit(f"{arrived} of {count} mails arrived")
    async with reading() as connection:
        found = select(func.min(Delivery.handed_at)).where(Delivery.created_at >= at)
        first = (await connection.execute(found)).scalar_one()
    assert first is not None
    rates = [count / (end - since).total_seconds() for since in (committed, first)]
    print(f"    {rates[0]:.0f} mails/s; {rates[1]:.0f} mails/s from the first mail on")
    return rates[0], rates[1]


async def run(url: str, running: sink.Sink, workers: int, count: int, rounds: int) -> list[float]:
    """Return the medians of the results of `deliver`, with `workers` processes."""
    async with RedisServer() as redis, AsyncExitStack() as stack:
        config = {"MAIL_COURIER": "celery", "CELERY_BROKER_URL": redis.url}
        await stack.enter_async_context(outbox_site.migrated(url, running.port, **config))
        settings = config | {"DATABASE_URL": url, "MAIL_PORT": str(running.port)}
        for words in (("worker", "--concurrency", str(workers)), ("beat", "--pidfile=")):
            await stack.enter_async_context(celery(settings, *words))
        await fill(WARMING)
        await all_sent()
        figures = [await deliver(running, count) for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mails per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--databases", nargs="+", default=list(outbox_site.DATABASES), choices=outbox_site.DATABASES
    )
    given = parser.parse_args()
    with sink.running() as running:
        ways: dict[str, mailers.Contestant] = {mailers.THREAD_PER_MAIL: mailers.flask_mail_thread_per_mail}
        [flask] = mailers.run(ways, running, given.count, given.rounds)
        print(f"{mailers.THREAD_PER_MAIL}: {flask.rate:.0f} mails/s")
        for name in given.databases:
            for workers in given.workers:
                print(f"{name}, concurrency {workers}")
                with outbox_site.DATABASES[name]() as url:
                    both = asyncio.run(run(url, running, workers, given.count, given.rounds))
                whole, then = (rate / flask.rate for rate in both)
                print(f"  {whole:.1f} times {mailers.THREAD_PER_MAIL}; {then:.1f} from the first mail on")


if __name__ == "__main__":
    main()
