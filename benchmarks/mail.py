"""Messages a second into a local sink, by several ways; one run, so that the ratios hold.

.venv/bin/python benchmarks/mail.py [--count 1000] [--rounds 3] [--durable]

With --durable what the outbox costs is measured after it, by the programs of DURABLE (some five minutes).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import flask_mail
from mailbench import contestants, measure, sink
from mailbench.letter import arguments

from app.quart_mail import Message

BASE = "Flask-Mail, thread per mail"
OURS = "quart_mail, 4 connections"
WANTED = 5.0  # times BASE
DURABLE = {
    "mails a second in the loop": ("benchmarks/outbox.py",),
    "mails a second by Celery": ("benchmarks/outbox_celery.py",),
    "from request to arrival, and memory, with 0 and 100 000 waiting": ("benchmarks/latency.py",),
    "pages while the mail server hangs": ("-m", "benchmarks.hanging"),
}

CONTESTANTS: dict[str, measure.Contestant] = {
    BASE: contestants.flask_mail_thread_per_mail,
    "Flask-Mail, connect()": contestants.flask_mail_connect,
    "aiosmtplib, connection each": contestants.aiosmtplib_each,
    "quart_mail, 1 connection": partial(contestants.quart_mail, connections=1),
    OURS: partial(contestants.quart_mail, connections=4),
    "bare asyncio, 1 connection": partial(contestants.bare_protocol, connections=1),
    "bare asyncio, 4 connections": partial(contestants.bare_protocol, connections=4),
}


def report(results: list[measure.Result]) -> None:
    """Print a line for each contestant, and what dominates."""
    base = next(result for result in results if result.name == BASE)
    print(f"{'':30}{'mails/s':>9}{'ratio':>8}{'CPU us/mail':>13}{'sink us/mail':>14}")
    for result in results:
        cpu, took = statistics.median(result.cpu) * 1e6, statistics.median(result.sink) * 1e6
        ratio = result.rate / base.rate
        print(f"{result.name:30}{result.rate:9.0f}{ratio:8.1f}{cpu:13.0f}{took:14.0f}")


def report_cost(results: list[measure.Result]) -> None:
    """Print what a message of ours consists of, and whether the goal is reached."""
    rates = {result.name: result for result in results}
    ours, bare = rates[OURS], rates["bare asyncio, 4 connections"]
    given = arguments(0)
    building = measure.microseconds(lambda: Message(**given).as_bytes())
    app, _ = contestants.flask_app(25)
    with app.app_context():
        theirs = measure.microseconds(lambda: flask_mail.Message(**given).as_bytes(), 200)
    whole = statistics.median(ours.cpu) * 1e6
    wire = statistics.median(bare.cpu) * 1e6
    print(f"\nbuilding the message: quart_mail {building:.0f} us, Flask-Mail {theirs:.0f} us")
    print(
        f"of {whole:.0f} us CPU a message over 4 connections: {wire:.0f} us asyncio and sockets "
        f"(bare protocol), {building:.0f} us building, {whole - wire - building:.0f} us dialogue: "
        "aiosmtplib, timeouts, checks, pool"
    )
    parts = {"asyncio and sockets": wire, "building": building}
    parts["the dialogue"] = whole - wire - building
    print(f"what dominates: {max(parts, key=lambda name: parts[name])}")
    ratio = ours.rate / rates[BASE].rate
    verdict = "reached" if ratio >= WANTED else "NOT reached"
    print(f"goal: {WANTED:g} times {BASE}: {verdict} ({ratio:.1f})")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="messages a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--durable", action="store_true", help="measure the outbox too")
    given = parser.parse_args()
    with sink.running() as port:
        results = measure.run(CONTESTANTS, port, given.count // 4 * 4, given.rounds)
    report(results)
    report_cost(results)
    if given.durable:
        for name, program in DURABLE.items():
            print(f"\ndurable mail: {name}", flush=True)
            subprocess.run([sys.executable, *program], cwd=Path(__file__).parents[1], check=True)


if __name__ == "__main__":
    main()
