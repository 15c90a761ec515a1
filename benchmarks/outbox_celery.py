"""Durable mails a second, from commit to `sent`, by Celery with a real Redis, beside Flask-Mail's in one run.

.venv/bin/python benchmarks/outbox_celery.py [--count 1000] [--rounds 3] [--workers 1 2] [--databases sqlite]

Beat looks every OUTBOX_POLL seconds; the first figure counts that wait, the second starts when the first
mail is handed over. The mails are ready-made ones, for a real worker knows no kind of a benchmark's.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from mailbench import contestants, measure, sink
from mailbench.letter import arguments
from outboxbench import celeries, site
from quart import current_app
from sqlalchemy import func, select

from app import outbox
from app.database import reading, writing
from app.outbox.models import Delivery, State
from app.quart_mail import Message

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.database_servers import RedisServer

DATABASES = {"sqlite": site.sqlite, "postgresql": site.postgresql}
WARMING = 120  # mails before the first round: more than one task's, so that two workers start
END_SECONDS = 120
BASE = "Flask-Mail, thread per mail"


async def fill(count: int) -> None:
    """Store `count` ready-made mails that are due now, in one transaction."""
    async with writing() as session:
        for number in range(count):
            await outbox.post_message(session, Message(**arguments(number)))


async def all_sent() -> None:
    """Wait until every mail is sent."""
    unsent = select(func.count()).select_from(Delivery).where(Delivery.state != State.SENT)
    async with asyncio.timeout(END_SECONDS):
        while True:
            async with reading() as connection:
                if not (await connection.execute(unsent)).scalar_one():
                    return
            await asyncio.sleep(0.05)


async def deliver(port: int, count: int) -> tuple[float, float]:
    """Return the mails a second of one round: from commit, and from the first mail."""
    await asyncio.sleep(random.uniform(0, current_app.config["OUTBOX_POLL"]))  # any phase of beat's
    (taken, _), at = measure.asked(port), datetime.now(UTC)
    await fill(count)
    committed = datetime.now(UTC)
    await all_sent()
    end = datetime.now(UTC)
    if (arrived := measure.asked(port)[0] - taken) != count:
        raise SystemExit(f"{arrived} of {count} mails arrived")
    async with reading() as connection:
        found = select(func.min(Delivery.handed_at)).where(Delivery.created_at >= at)
        first = (await connection.execute(found)).scalar_one()
    assert first is not None
    rates = [count / (end - since).total_seconds() for since in (committed, first)]
    print(f"    {rates[0]:.0f} mails/s; {rates[1]:.0f} mails/s from the first mail on")
    return rates[0], rates[1]


async def run(url: str, port: int, workers: int, count: int, rounds: int) -> list[float]:
    """Return the medians of what `deliver` tells, with `workers` processes."""
    async with RedisServer() as redis, AsyncExitStack() as stack:
        config = {"MAIL_COURIER": "celery", "CELERY_BROKER_URL": redis.url}
        await stack.enter_async_context(site.migrated(url, port, **config))
        settings = config | {"DATABASE_URL": url, "MAIL_PORT": str(port)}
        for words in (("worker", "--concurrency", str(workers)), ("beat", "--pidfile=")):
            await stack.enter_async_context(celeries.running(settings, *words))
        await fill(WARMING)
        await all_sent()
        figures = [await deliver(port, count) for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mails a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--databases", nargs="+", default=list(DATABASES), choices=DATABASES)
    given = parser.parse_args()
    with sink.running() as port:
        ways: dict[str, measure.Contestant] = {BASE: contestants.flask_mail_thread_per_mail}
        [flask] = measure.run(ways, port, given.count, given.rounds)
        print(f"{BASE}: {flask.rate:.0f} mails/s")
        for name in given.databases:
            for workers in given.workers:
                print(f"{name}, concurrency {workers}")
                with DATABASES[name]() as url:
                    both = asyncio.run(run(url, port, workers, given.count, given.rounds))
                whole, then = (rate / flask.rate for rate in both)
                print(f"  {whole:.1f} times {BASE}; {then:.1f} from the first mail on")


if __name__ == "__main__":
    main()
