"""Does the time of a response reveal whether an account exists?

    python -m benchmarks.oracle [--rounds 60]

Logins with a wrong password and requests for a reset link go to a served site one after the other, in an
order shuffled for each round: for accounts with a current hash, with an older and cheaper one and without a
hash, and for unknown names and addresses, while the courier delivers mail. Printed for each case: median
and quartiles in ms, how far the median is from that of the unknown case (as a share of it), and how often a
response took longer than an unknown one (0.5 reveals nothing). The exit status is 1 when a difference
exceeds BOUND.

Regressions exceed it by far: without a hash for unknown names the times differ by a factor of 80, and a
cheaper hash that is not upgraded shows as -0.5.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

from werkzeug.security import generate_password_hash

from app import create_app
from app.accounts.models import User
from app.database import writing
from app.migrations import run as migrations
from tests.clients import Visitor

BOUND = {"login": 0.2, "reset": 0.35}
OLDER_METHOD = "scrypt:32768:8:1"
UNKNOWN = "unknown"

Case = Callable[[int], Awaitable[None]]
Times = dict[str, list[float]]


async def interleave(cases: dict[str, Case], rounds: int) -> Times:
    """Return seconds per answer of each case; the first round warms up and does not count."""
    times: Times = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name in random.sample(sorted(cases), len(cases)):
            begin = time.perf_counter()
            await cases[name](number)
            if number:
                times[name].append(time.perf_counter() - begin)
    return times


def report(title: str, times: Times) -> bool:
    """Print a table of `times`, and return whether all cases are within the bound."""
    base = statistics.median(times[UNKNOWN])
    print(f"{title:8} {'median':>8} {'quartiles':>16} {'share':>7} {'longer':>7}")
    shares = []
    for name, taken in times.items():
        low, middle, high = (1000 * quartile for quartile in statistics.quantiles(taken, n=4))
        share = statistics.median(taken) / base - 1
        pairs = [one > other for one in taken for other in times[UNKNOWN]]
        print(
            f"{name:8} {middle:8.2f} {low:7.2f} {high:8.2f} {share:+7.2f} {sum(pairs) / len(pairs):7.2f}"
        )
        shares.append(abs(share))
    return max(shares) <= BOUND[title]


async def people(method: str, rounds: int) -> None:
    """Store accounts named after the kind of their hash."""
    hashes = {
        "current": generate_password_hash("correct horse", method),
        "older": generate_password_hash("correct horse", OLDER_METHOD),
        "none": None,
    }
    async with writing() as session:
        for kind, stored in hashes.items():
            for number in range(rounds + 1):
                name = f"{kind}{number}"
                session.add(User(username=name, email=f"{name}@example.com", password_hash=stored))


async def measure(rounds: int, folder: str) -> bool:
    """Measure both forms, and return whether they are within the bound."""
    site = create_app(
        {
            "TESTING": True,  # mails are rendered but not sent
            "DATABASE_URL": f"sqlite:///{folder}/microblog.db",
            "RATELIMIT_ENABLED": False,
        }
    )
    await migrations.upgrade(site.extensions["database"])
    async with site.test_app() as served, site.app_context():
        await people(site.config["PASSWORD_HASH_METHOD"], rounds * 5)
        visitor = Visitor(served)  # type: ignore[arg-type]
        token = (await visitor.get("/login")).token

        def login(kind: str) -> Case:
            async def send(number: int) -> None:
                page = await visitor.post(
                    "/login", username=f"{kind}{number}", password="wrong", csrf_token=token
                )
                assert "Invalid username or password" in page.text

            return send

        def reset(kind: str) -> Case:
            async def send(number: int) -> None:
                page = await visitor.post(
                    "/reset_password_request",
                    email=f"{kind}{number}@example.com",
                    csrf_token=token,
                )
                assert page.location == "/login"

            return send

        logins = {kind: login(kind) for kind in (UNKNOWN, "current", "older", "none")}
        resets = {kind: reset(kind) for kind in (UNKNOWN, "current")}
        kept = [
            report("login", await interleave(logins, rounds)),
            report("reset", await interleave(resets, rounds * 5)),
        ]
    return all(kept)


def main() -> None:
    """Measure, print and exit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(not asyncio.run(measure(rounds, folder)))


if __name__ == "__main__":
    main()
