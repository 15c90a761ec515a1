"""Durable mails a second, from commit to `sent`, beside Flask-Mail's thread per mail in the same rounds.

.venv/bin/python benchmarks/outbox.py [--count 1000] [--rounds 9] [--databases sqlite postgresql]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import ExitStack

from mailbench import contestants, measure, sink
from outboxbench import site

from app import outbox

WANTED = 4.0  # times Flask-Mail's thread per mail
BASE = "Flask-Mail, thread per mail"
DATABASES = {"sqlite": site.sqlite, "postgresql": site.postgresql}


async def deliver(database_url: str, port: int, count: int) -> tuple[float, float]:
    """Return the mails a second of one round, and the CPU seconds of this process for a mail."""
    async with site.migrated(database_url, port):
        await site.fill(8)
        await outbox.drain()
        await site.fill(count)
        begun, cpu = time.perf_counter(), time.process_time()
        await outbox.drain()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return count / took, cpu / count


def main() -> None:
    """Run it all, the contestants of a round one after the other: a machine's speed drifts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mails a round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--databases", nargs="+", default=list(DATABASES), choices=DATABASES)
    given = parser.parse_args()
    ways: dict[str, measure.Contestant] = {BASE: contestants.flask_mail_thread_per_mail}
    ratios: dict[str, list[float]] = {name: [] for name in given.databases}
    with sink.running() as port, ExitStack() as stack:
        urls = {name: stack.enter_context(DATABASES[name]()) for name in given.databases}
        for _ in range(given.rounds):
            [flask] = measure.run(ways, port, given.count, 1)
            print(f"{BASE}: {flask.rate:.0f} mails/s, {flask.cpu[0] * 1e6:.0f} us CPU")
            for name, url in urls.items():
                rate, cpu = asyncio.run(deliver(url, port, given.count))
                ratios[name].append(rate / flask.rate)
                print(
                    f"  {name:10} {rate:6.0f} mails/s, {cpu * 1e6:5.0f} us CPU: {rate / flask.rate:.1f}"
                )
    for name, found in ratios.items():
        ratio = statistics.median(found)
        verdict = "reached" if ratio >= WANTED else "NOT reached"
        spread = f"{min(found):.1f} to {max(found):.1f}"
        print(f"{name}: {ratio:.1f} times ({spread}) {BASE}; {WANTED:g} times is {verdict}")


if __name__ == "__main__":
    main()
