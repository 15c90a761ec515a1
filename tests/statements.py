"""Counting the statements that a request really makes, below SQLAlchemy: at the drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiosqlite
import asyncpg

from app.database.exchange import OneExchangeCursor
from tests.visitor import Page, Visitor

READS = ("SELECT", "WITH")
SILENT = ("PRAGMA", "SET", "SHOW", "BEGIN", "COMMIT", "ROLLBACK")


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the text of every statement that aiosqlite or asyncpg is given inside the block."""
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
        watched(aiosqlite.Cursor, "execute", 1),
        watched(OneExchangeCursor, "_execute_async", 1),
        watched(OneExchangeCursor, "_executemany_async", 1),
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
    """Return the page at `path` and the statements it took, transactions' own aside."""
    with recorded() as seen:
        page = await visitor.get(path)
    return page, [sql for sql in seen if not sql.upper().startswith(SILENT)]
