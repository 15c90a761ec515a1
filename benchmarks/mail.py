"""Messages per second to a local sink, sent in several ways in one run, so that ratios are comparable.

    python -m benchmarks.mail [--count 1000] [--rounds 3] [--base DIR]

`--base` measures quart_mail of the checkout in DIR in the same rounds, with its own DIR/.venv/bin/python.
Durable mail is measured by benchmarks.outbox and benchmarks.outbox_celery.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from functools import partial
from pathlib import Path

import flask_mail

from app.quart_mail import Message
from benchmarks import mailers, sink

OURS = "quart_mail, 4 connections"
OURS_BASE = f"{OURS}, base"
BARE = "bare asyncio, 4 connections"
FLOOR = 8.0  # times Flask-Mail's thread per mail

CONTESTANTS: dict[str, mailers.Contestant] = {
    mailers.THREAD_PER_MAIL: mailers.flask_mail_thread_per_mail,
    "Flask-Mail, connect()": mailers.flask_mail_connect,
    "aiosmtplib, connection each": mailers.aiosmtplib_each,
    "quart_mail, 1 connection": partial(mailers.quart_mail, connections=1),
    OURS: partial(mailers.quart_mail, connections=4),
    "bare asyncio, 1 connection": partial(mailers.bare_protocol, connections=1),
    BARE: partial(mailers.bare_protocol, connections=4),
}


def send(port: int, count: int) -> tuple[float, float]:
    """Send `count` mails by quart_mail; return messages per second and CPU seconds per message."""
    CONTESTANTS[OURS](port, 8)
    wall, cpu = time.perf_counter(), time.process_time()
    CONTESTANTS[OURS](port, count)
    return count / (time.perf_counter() - wall), (time.process_time() - cpu) / count


def send_apart(base: Path, port: int, count: int) -> tuple[float, float]:
    """Run `send` in a process of its own, with the checkout `base`."""
    python = base / ".venv" / "bin" / "python"
    command = [str(python), "-m", "benchmarks.mail", "--send", str(port), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rate, cpu = done.stdout.split()[-2:]
    return float(rate), float(cpu)


def measure(given: argparse.Namespace) -> None:
    """Run all rounds and print the tables."""
    count = given.count // 4 * 4
    results: dict[str, mailers.Result] = {}
    with sink.running() as running:
        for _ in range(given.rounds):
            for result in mailers.run(CONTESTANTS, running, count, 1):
                whole = results.setdefault(result.name, mailers.Result(result.name))
                whole.rates += result.rates
                whole.cpu += result.cpu
                whole.sink += result.sink
            if given.base:
                base = results.setdefault(OURS_BASE, mailers.Result(OURS_BASE))
                rate, cpu = send_apart(given.base, running.port, count)
                base.rates.append(rate)
                base.cpu.append(cpu)
    report(results)
    report_cost(results)


def report(results: dict[str, mailers.Result]) -> None:
    """Print a line for each contestant."""
    flask = results[mailers.THREAD_PER_MAIL]
    print(f"{'':32}{'mails/s':>9}{'ratio':>8}{'CPU us/mail':>13}{'sink us/mail':>14}")
    for result in results.values():
        cpu = statistics.median(result.cpu) * 1e6
        took = f"{statistics.median(result.sink) * 1e6:.0f}" if result.sink else ""
        ratio = result.rate / flask.rate
        print(f"{result.name:32}{result.rate:9.0f}{ratio:8.1f}{cpu:13.0f}{took:>14}")


def report_cost(results: dict[str, mailers.Result]) -> None:
    """Print where the CPU time of our messages goes, and whether the floor is reached."""
    ours, bare = results[OURS], results[BARE]
    given = mailers.arguments(0)
    building = mailers.microseconds(lambda: Message(**given).as_bytes())
    app, _ = mailers.flask_app(25)
    with app.app_context():
        theirs = mailers.microseconds(lambda: flask_mail.Message(**given).as_bytes(), 200)
    whole = statistics.median(ours.cpu) * 1e6
    wire = statistics.median(bare.cpu) * 1e6
    print(f"\nbuilding the message: quart_mail {building:.0f} us, Flask-Mail {theirs:.0f} us")
    parts = {"asyncio and sockets (bare protocol)": wire, "building the message": building}
    parts["the dialogue: aiosmtplib, timeouts, checks, pool"] = whole - wire - building
    costs = ", ".join(f"{cost:.0f} us {name}" for name, cost in parts.items())
    print(f"of {whole:.0f} us CPU a message over 4 connections: {costs}")
    print(f"what dominates: {max(parts, key=lambda name: parts[name])}")
    ratio = ours.rate / results[mailers.THREAD_PER_MAIL].rate
    verdict = "reached" if ratio >= FLOOR else "NOT reached"
    print(f"floor: {FLOOR:g} times {mailers.THREAD_PER_MAIL}: {verdict} ({ratio:.1f})")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="messages per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--base", type=Path, metavar="DIR", help="another checkout to compare with")
    parser.add_argument("--send", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        print(*send(*given.send))
    else:
        measure(given)


if __name__ == "__main__":
    main()
