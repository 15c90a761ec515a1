"""The time from a reset request's commit to its delivery, and the memory that waiting mails use.

python -m benchmarks.latency [--waiting 100000] [--resets 50] [--databases sqlite postgresql]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import Any

from app import outbox
from app.database import writing
from benchmarks import outbox_site, sink

WANTED_SECONDS = 5.0  # p99 of a reset behind the waiting mails
WANTED_MIB = 50.0


def resident() -> float:
    """Return this process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def ask(number: int) -> float:
    """Post one reset and return the seconds until it was sent."""
    begun = time.perf_counter()
    async with writing() as session:
        handle = await outbox.post(session, "reset", number=number)
    await handle
    return time.perf_counter() - begun


async def measure(app: Any, resets: int) -> tuple[float, float, float]:
    """Return p50 and p99 of `resets`, one after the other, and the memory after them."""
    async with app.test_app():
        for number in range(3):
            await ask(number)
        times = [await ask(number) for number in range(resets)]
        memory = resident()
    return statistics.median(times), statistics.quantiles(times, n=100)[98], memory


async def run(url: str, port: int, waiting: int, resets: int) -> None:
    """Measure an idle courier, and one that is delivering `waiting` mails."""
    async with outbox_site.migrated(url, port) as app:
        p50, p99, idle = await measure(app, resets)
    print(f"  idle              p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  {idle:6.1f} MiB")
    async with outbox_site.migrated(url, port) as app:
        await outbox_site.fill(waiting, priority=outbox.Priority.LOW)
        p50, p99, busy = await measure(app, resets)
    print(f"  {waiting:7} waiting   p50 {p50 * 1e3:7.1f} ms  p99 {p99 * 1e3:7.1f} ms  {busy:6.1f} MiB")
    verdict = "reached" if p99 <= WANTED_SECONDS and busy - idle <= WANTED_MIB else "NOT reached"
    print(f"  p99 within {WANTED_SECONDS:g} s and {WANTED_MIB:g} MiB more: {verdict}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--resets", type=int, default=50)
    parser.add_argument(
        "--databases", nargs="+", default=list(outbox_site.DATABASES), choices=outbox_site.DATABASES
    )
    given = parser.parse_args()
    with sink.running() as running:
        for name in given.databases:
            with outbox_site.DATABASES[name]() as url:
                print(name)
                asyncio.run(run(url, running.port, given.waiting, given.resets))


if __name__ == "__main__":
    main()
