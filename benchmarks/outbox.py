"""Durable mails a second, from commit to `sent`, beside Flask-Mail's thread per mail in the same run.

.venv/bin/python benchmarks/outbox.py [--count 1000] [--rounds 3] [--databases sqlite postgresql]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from mailbench import contestants, measure, sink
from outboxbench import site

from app import outbox

WANTED = 4.0  # times Flask-Mail's thread per mail
DATABASES = {"sqlite": site.sqlite, "postgresql": site.postgresql}


async def deliver(database_url: str, port: int, count: int) -> float:
    """Return the mails a second of one round."""
    async with site.migrated(database_url, port) as app:
        await site.fill(8)
        await outbox.drain()
        await site.fill(count)
        begun, cpu = time.perf_counter(), time.process_time()
        await outbox.drain()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
        commits = app.extensions["outbox_courier"].ledger.commits
    print(f"    {count / took:6.0f} mails/s, {cpu / count * 1e6:5.0f} us CPU, {commits} commits")
    return count / took


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mails a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", nargs="+", default=list(DATABASES), choices=DATABASES)
    given = parser.parse_args()
    with sink.running() as port:
        base = "Flask-Mail, thread per mail"
        ways: dict[str, measure.Contestant] = {base: contestants.flask_mail_thread_per_mail}
        [flask] = measure.run(ways, port, given.count, given.rounds)
        print(f"{base}: {flask.rate:.0f} mails/s")
        for name in given.databases:
            with DATABASES[name]() as url:
                print(name)
                rates = [asyncio.run(deliver(url, port, given.count)) for _ in range(given.rounds)]
            ratio = statistics.median(rates) / flask.rate
            verdict = "reached" if ratio >= WANTED else "NOT reached"
            print(f"  {ratio:.1f} times {base}; {WANTED:g} times is {verdict}")


if __name__ == "__main__":
    main()
