"""Durable mails per second, from commit to `sent`, compared with Flask-Mail's thread per mail.

    python -m benchmarks.outbox [--count 1000] [--rounds 9] [--databases sqlite postgresql] [--base DIR]

Each of our rounds runs in its own process; only the delivery is timed. `--base` measures the checkout in
DIR in the same rounds, with its own DIR/.venv/bin/python.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from app import outbox
from benchmarks import mailers, outbox_site, sink

FLOOR = 3.0  # times Flask-Mail's thread per mail


async def deliver(database_url: str, port: int, count: int) -> tuple[float, float]:
    """Return mails per second and CPU seconds per mail of one round."""
    async with outbox_site.migrated(database_url, port):
        await outbox_site.fill(8)
        await outbox.drain()
        await outbox_site.fill(count)
        begun, cpu = time.perf_counter(), time.process_time()
        await outbox.drain()
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return count / took, cpu / count


def deliver_apart(python: Path, database_url: str, port: int, count: int) -> tuple[float, float]:
    """Run `deliver` in a process of its own, with the site that `python` has installed."""
    command = [str(python), "-m", "benchmarks.outbox", "--deliver", database_url, str(port), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    rate, cpu = done.stdout.split()[-2:]
    return float(rate), float(cpu)


def measure(given: argparse.Namespace) -> None:
    """Run all rounds, one contestant after the other, because a machine's speed drifts."""
    pythons = {"": Path(sys.executable)}
    if given.base:
        pythons[" base"] = given.base / ".venv" / "bin" / "python"
    flask_mail: dict[str, mailers.Contestant] = {mailers.THREAD_PER_MAIL: mailers.flask_mail_thread_per_mail}
    ratios: dict[str, list[float]] = {}
    with sink.running() as running, ExitStack() as stack:
        urls = {
            (name + version, python): stack.enter_context(outbox_site.DATABASES[name]())
            for name in given.databases
            for version, python in pythons.items()
        }
        for _ in range(given.rounds):
            [flask] = mailers.run(flask_mail, running, given.count, 1)
            print(f"{flask.name}: {flask.rate:.0f} mails/s, {flask.cpu[0] * 1e6:.0f} us CPU")
            for (name, python), url in urls.items():
                rate, cpu = deliver_apart(python, url, running.port, given.count)
                ratio = rate / flask.rate
                ratios.setdefault(name, []).append(ratio)
                print(f"  {name:16} {rate:6.0f} mails/s, {cpu * 1e6:5.0f} us CPU: {ratio:.1f}")
    for name, found in ratios.items():
        median = statistics.median(found)
        verdict = "reached" if median >= FLOOR else "NOT reached"
        spread = f"{min(found):.1f} to {max(found):.1f}"
        print(f"{name}: {median:.1f} times ({spread}) {mailers.THREAD_PER_MAIL}; {FLOOR:g} is {verdict}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="mails per round")
    parser.add_argument("--rounds", type=int, default=9)
    databases = outbox_site.DATABASES
    parser.add_argument("--databases", nargs="+", default=list(databases), choices=databases)
    parser.add_argument("--base", type=Path, metavar="DIR", help="another checkout to compare with")
    parser.add_argument("--deliver", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.deliver:
        url, port, count = given.deliver
        print(*asyncio.run(deliver(url, int(port), int(count))))
    else:
        measure(given)


if __name__ == "__main__":
    main()
