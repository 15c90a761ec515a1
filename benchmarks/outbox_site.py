"""A migrated site with one kind of mail, on SQLite or PostgreSQL, that sends to a sink."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from quart import Quart
from sqlalchemy import insert

from app import create_app, outbox
from app.database import writing
from app.migrations import run as migrations
from app.outbox.models import Delivery, Priority, State
from app.quart_mail import Message
from benchmarks.mailers import arguments
from tests.database_servers import PostgresServer, find_postgres

EXPIRY = timedelta(days=5)
AT_ONCE = 500  # rows per INSERT


async def render(request: outbox.MailRequest) -> Message:
    """Render a mail as long as a reset mail."""
    return Message(**arguments(request.params["number"]))


def make_site(database_url: str, port: int, **config: Any) -> Quart:
    """Return a site that mails to the sink at `port`."""
    base = {"TESTING": True, "DATABASE_URL": database_url, "MAIL_SUPPRESS_SEND": False}
    base |= {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": port, "PASSWORD_PROCESSES": 0}
    site = create_app(base | config)
    outbox.register(site, outbox.Kind("letter", render))
    outbox.register(site, outbox.Kind("reset", render, priority=outbox.Priority.RESET))
    return site


@asynccontextmanager
async def migrated(database_url: str, port: int, **config: Any) -> AsyncIterator[Quart]:
    """Yield a migrated site in its app context, and close it at the end."""
    site = make_site(database_url, port, **config)
    await migrations.upgrade(site.extensions["database"])
    async with site.app_context():
        yield site
        await site.extensions["mail_pool"].close()
        await site.extensions["database"].dispose()


@contextmanager
def sqlite() -> Iterator[str]:
    """Yield the URL of a new SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/microblog.db"


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the URL of a database on a new PostgreSQL server."""
    binaries = find_postgres()
    if binaries is None:
        raise SystemExit("PostgreSQL is not installed.")
    with tempfile.TemporaryDirectory() as folder, PostgresServer(binaries, Path(folder)) as server:
        yield server.url("postgres")


async def fill(count: int, *, kind: str = "letter", priority: Priority = Priority.NORMAL) -> None:
    """Store `count` mails that are due now, in one transaction."""
    at = datetime.now(UTC)
    row = {
        "kind": kind,
        "message_id": "",
        "priority": priority,
        "state": State.QUEUED,
        "attempts": 0,
        "in_doubt": False,
        "created_at": at,
        "due_at": at,
        "expires_at": at + EXPIRY,
    }
    async with writing() as session:
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(count, first + AT_ONCE))
            rows = [row | {"params": {"number": n}, "message_id": f"<{n}@example.com>"} for n in numbers]
            await session.execute(insert(Delivery), rows)


DATABASES = {"sqlite": sqlite, "postgresql": postgresql}
