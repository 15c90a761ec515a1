"""Kill a process that posts and delivers, again and again; count the mails committed, lost and sent twice.

python -m benchmarks.kill [--kills 1000] [--database sqlite|postgresql] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
from typing import Any

from benchmarks import outbox_site
from tests.outbox.process import BEFORE_DATA, POINTS, worker
from tests.outbox.site import QUICK, rows
from tests.smtp_server import SmtpServer

MAILS = 60  # posted by each process
LONGEST_LIFE = 1.0  # seconds after it is ready
TIMES = {"OUTBOX_LEASE": 2.0, "OUTBOX_RENEW": 0.5, "MAIL_TIMEOUT": 5.0}
END_SECONDS = 300


def plan(number: int) -> dict[str, Any]:
    """Return where a process is killed: every other one at a named point, the others at a random time."""
    if number % 2:
        return {}
    point = random.choice([*POINTS, BEFORE_DATA])
    return {"kill_at": point, "kill_after": random.randint(1, 20)}


async def kill_one(config: dict[str, Any], number: int) -> list[int]:
    """Run one process until it dies; return the mails it committed."""
    async with worker(config, post=MAILS, **plan(number)) as doomed:
        try:
            async with asyncio.timeout(random.uniform(0, LONGEST_LIFE)):
                await doomed.end()
        except TimeoutError:
            doomed.signal(signal.SIGKILL)
        await doomed.end()
    return doomed.promised


async def all_done() -> None:
    """Wait until no mail is due."""
    async with asyncio.timeout(END_SECONDS):
        while any(row.due_at is not None for row in await rows()):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def run(url: str, kills: int) -> bool:
    """Kill `kills` processes, let one finish the work, and report the outcome."""
    promised: list[int] = []
    async with SmtpServer() as server, outbox_site.migrated(url, server.port):
        config = QUICK | TIMES | {"TESTING": True, "DATABASE_URL": url, "MAIL_PORT": server.port}
        config |= {"MAIL_SUPPRESS_SEND": False, "PASSWORD_PROCESSES": 0}
        for number in range(kills):
            promised += await kill_one(config, number)
            if (number + 1) % 20 == 0:
                print(f"{number + 1} kills, {len(promised)} committed", flush=True)
        async with worker(config):
            await all_done()
        found = {row.id: row for row in await rows()}
    lost = [id_ for id_ in promised if id_ not in found or found[id_].state != "sent"]
    lost += [id_ for id_, row in found.items() if not server.arrivals[row.message_id]]
    doubled = [row for row in found.values() if server.arrivals[row.message_id] > 1]
    unflagged = [row.id for row in doubled if not row.in_doubt]
    flagged = sum(row.in_doubt for row in found.values())
    print(f"{kills} kills: {len(promised)} mails committed, {len(lost)} lost, {flagged} in doubt,")
    print(f"{len(doubled)} arrived twice, {len(unflagged)} of these without being in doubt")
    return not lost and not unflagged


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--database", choices=outbox_site.DATABASES, default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    random.seed(given.seed)
    with outbox_site.DATABASES[given.database]() as url:
        raise SystemExit(not asyncio.run(run(url, given.kills)))


if __name__ == "__main__":
    main()
