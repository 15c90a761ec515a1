"""Inspect a site: its parts, the statements it runs, and the mails it sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiosqlite
import asyncpg
from quart import Quart
from sqlalchemy import QueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from app import mail
from app.database import Database
from app.database.sqlite import Cursor
from app.dev.catcher import Catcher
from app.dev.mail_parser import parse_mail
from app.outbox.courier import Courier
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.clients import Page, Visitor

READS = ("SELECT", "WITH")
SILENT = ("PRAGMA", "SET", "SHOW", "BEGIN", "COMMIT", "ROLLBACK")


def database_of(app: Quart) -> Database:
    found: Database = app.extensions["database"]
    return found


def connections_in_use(engine: AsyncEngine) -> int:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout()


def outbox_of(app: Quart) -> Outbox:
    found: Outbox = app.extensions["outbox"]
    return found


def courier_of(app: Quart) -> Courier:
    found: Courier = app.extensions["outbox_courier"]
    return found


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the text of every statement that aiosqlite or asyncpg receives inside the block."""
    seen: list[str] = []

    def watched(owner: Any, name: str, place: int) -> Callable[[], None]:
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            seen.append(str(args[place]).strip())
            return real(*args, **kwargs)

        setattr(owner, name, call)
        return lambda: setattr(owner, name, real)

    undo = [
        watched(aiosqlite.Connection, "execute_fetchall", 1),
        watched(Cursor, "execute", 1),
        watched(Cursor, "executemany", 1),
        watched(asyncpg.Connection, "fetch", 1),
        watched(asyncpg.Connection, "execute", 1),
        watched(asyncpg.Connection, "prepare", 1),
    ]
    try:
        yield seen
    finally:
        for each in undo:
            each()


async def statements_of(visitor: Visitor, path: str) -> tuple[Page, list[str]]:
    """Return the page at `path` and the statements it ran, except those that begin or end transactions."""
    with recorded() as seen:
        page = await visitor.get(path)
    return page, [sql for sql in seen if not sql.upper().startswith(SILENT)]


async def text_to(catcher: Catcher, address: str, *, containing: str = "", seconds: float = 60) -> str:
    """Return the text of the first mail to `address` with `containing` in it, waiting for it up to `seconds`."""
    seen = 0
    while True:
        arrived = await catcher.mailbox.wait(after=seen, timeout=seconds)
        seen = arrived.id
        if address in arrived.recipients:
            text = parse_mail(arrived.content).text
            assert text is not None
            if containing in text:
                return text


async def sent_by(app: Quart) -> list[Message]:
    """Deliver the mails that are due, and return them."""
    with mail.record_messages() as sent:
        await courier_of(app).drain()
    return sent


async def sent_after(app: Quart, minutes: float) -> list[Message]:
    """Deliver the mails that are due `minutes` from now, and return them."""
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    outbox_of(app).clock = lambda: now  # type: ignore[method-assign]
    return await sent_by(app)


def bodies(message: Message) -> tuple[str, str]:
    """Return the text and the HTML of a mail that has both."""
    assert message.body is not None
    assert message.html is not None
    return message.body, message.html


def reset_link(text: str | None) -> str:
    """Return the path of the reset link in the text of a mail."""
    return link_to("reset_password", text)


def link_to(page: str, text: str | None) -> str:
    """Return the path of the link to `page` in the text of a mail."""
    found = re.search(rf"http://[\w.:]+(/{page}/\S+)", text or "")
    assert found is not None, text
    return found[1]
