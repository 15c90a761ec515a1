"""Does the time of a response reveal whether an account exists?

    python -m benchmarks.oracle [--rounds 60]
    python -m benchmarks.oracle --neighbour [--delay 2] [--rounds 40]

Logins with a wrong password and requests for a reset link go to a served site one after the other, in an
order shuffled for each round: for accounts with a current hash, with an older and cheaper one and without a
hash, and for unknown names and addresses, while the courier delivers mail. Printed for each case: median
and quartiles in ms, how far the median is from that of the unknown case (as a share of it), and how often a
response took longer than an unknown one (0.5 reveals nothing). The exit status is 1 when a difference
exceeds BOUND.

With --neighbour, the question is whether the time of the *next* request reveals it, because the delivery of
the reset runs beside it: on an idle site, served by Hypercorn with a mail server, `--rounds` resets for
accounts and as many for unknown addresses go out in a shuffled order, each followed at once by one marked
request whose time is taken. Printed: medians, and the AUC: how often a marked request after a known address
took longer than one after an unknown one. The exit status is 1 outside AUC_BOUND. `--delay 0` shows what
OUTBOX_RESET_DELAY is for.

Regressions exceed it by far: without a hash for unknown names the times differ by a factor of 80, and a
cheaper hash that is not upgraded shows as -0.5.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import urlencode

from werkzeug.security import generate_password_hash

from app import create_app
from app.accounts.models import User
from app.database import writing
from app.migrations import run as migrations
from benchmarks import sink, site
from tests.clients import Visitor

BOUND = {"login": 0.2, "reset": 0.35}
AUC_BOUND = (0.35, 0.65)
IDLE_SECONDS = 1.0
"""How long the site rests between two resets, after the last one has become due."""
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
        longer = auc(taken, times[UNKNOWN])
        print(f"{name:8} {middle:8.2f} {low:7.2f} {high:8.2f} {share:+7.2f} {longer:7.2f}")
        shares.append(abs(share))
    return max(shares) <= BOUND[title]


def auc(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return how often one is larger than another, a tie being half."""
    pairs = [(one > other) + (one == other) / 2 for one in ones for other in others]
    return sum(pairs) / len(pairs)


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
                    "/reset_password_request", email=f"{kind}{number}@example.com", csrf_token=token
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


class Browser:
    """A client of a served site that keeps its connection, so that a request is only a request."""

    def __init__(self, server: site.Server) -> None:
        self._server = server
        self._cookie = self._token = ""

    async def connect(self) -> None:
        """Open the connection, and get a form's token."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        head, body = await self._ask("GET", "")
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', body)
        assert found is not None
        self._cookie = "; ".join(re.findall(r"(?i)set-cookie: ([^;]+)", head))
        self._token = found[1]

    async def reset(self, address: str) -> float:
        """Request a reset link for `address`, and return the seconds until the answer."""
        form = urlencode({"email": address, "csrf_token": self._token})
        begin = time.perf_counter()
        head, _ = await self._ask("POST", form)
        taken = time.perf_counter() - begin
        assert " 302 " in head.splitlines()[0], head
        return taken

    async def _ask(self, method: str, body: str) -> tuple[str, str]:
        self._writer.write(
            f"{method} /reset_password_request HTTP/1.1\r\nHost: {self._server.host}\r\n"
            f"Cookie: {self._cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"(?i)content-length: (\d+)", head)
        text = await self._reader.readexactly(int(length[1])) if length else b""
        return head, text.decode()


async def measure_neighbour(rounds: int, delay: float, folder: str, port: int) -> bool:
    """Measure the request that follows a reset, and return whether it keeps the secret."""
    settings = await site.fill(f"sqlite:///{folder}/microblog.db")
    settings |= {
        "MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(port), "OUTBOX_RESET_DELAY": str(delay),
        "RATELIMIT_ENABLED": "0", "BODY_TIMEOUT": "60",
    }  # fmt: skip
    known = [("known", f"{name}@example.com") for name in site.NAMES[:rounds]]
    resets = known + [(UNKNOWN, f"nobody{number}@example.com") for number in range(rounds)]
    times: Times = {UNKNOWN: [], "known": []}
    async with site.start(Path(folder), "app:create_app()", settings) as server:
        for number in range(3):
            warming = Browser(server)
            await warming.connect()
            await warming.reset(f"warm{number}@example.com")
        await asyncio.sleep(delay + IDLE_SECONDS)
        for kind, address in random.sample(resets, len(resets)):
            browser = Browser(server)
            await browser.connect()
            await browser.reset(address)
            times[kind].append(await browser.reset("marked@example.com"))
            await asyncio.sleep(delay + IDLE_SECONDS)
    longer = auc(times["known"], times[UNKNOWN])
    for kind, taken in times.items():
        low, middle, high = (1000 * quartile for quartile in statistics.quantiles(taken, n=4))
        print(f"{kind:8} {middle:8.2f} {low:7.2f} {high:8.2f}")
    print(f"AUC      {longer:8.2f}")
    return AUC_BOUND[0] <= longer <= AUC_BOUND[1]


def main() -> None:
    """Measure, print and exit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--neighbour", action="store_true")
    parser.add_argument("--delay", type=float, default=2.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not given.neighbour:
            sys.exit(not asyncio.run(measure(given.rounds or 60, folder)))
        with sink.running() as mail:
            rounds = given.rounds or 40
            sys.exit(not asyncio.run(measure_neighbour(rounds, given.delay, folder, mail.port)))


if __name__ == "__main__":
    main()
