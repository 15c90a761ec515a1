"""What operators ask of the outbox. Never a body, a token, or the parameters of a secret mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from app.database import Database
from app.outbox.claim import table
from app.outbox.models import Content, Priority, State
from app.outbox.state import Outbox


@dataclass(frozen=True, slots=True)
class Overview:
    """How full the outbox is: rows by state, and ages in seconds.

    `oldest_due`: for how long the first mail that could be taken has been due. `oldest_waiting`: how long ago
    the oldest was asked for that is not done, whatever it waits for.
    """

    states: dict[str, int]
    oldest_due: float | None
    oldest_waiting: float | None
    in_doubt: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One delivery as an operator sees it; times are aware UTC."""

    id: int
    kind: str
    state: str
    priority: int
    recipient: str | None
    about: str | None
    message_id: str
    attempts: int
    in_doubt: bool
    created_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    handed_at: datetime | None
    done_at: datetime | None
    last_code: int | None
    last_text: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One delivery with what is known of its content: its parameters or its subject, if no secret."""

    delivery: Listed
    params: dict[str, Any] | None
    subject: str | None


async def stats(outbox: Outbox) -> Overview:
    """Return the counts by state, and for how long mail has been waiting."""
    now = outbox.clock()
    counts = select(table.c.state, func.count()).group_by(table.c.state)
    oldest = select(func.min(table.c.due_at)).where(table.c.claim_id.is_(None))
    first = select(func.min(table.c.created_at)).where(
        table.c.priority.in_([*Priority]), table.c.due_at.is_not(None)
    )
    doubts = select(func.count()).where(table.c.in_doubt)
    async with outbox.database.reading() as connection:
        found = {row[0]: row[1] for row in await connection.execute(counts)}
        due_at: datetime | None = await connection.scalar(oldest)
        created_at: datetime | None = await connection.scalar(first)
        in_doubt = await connection.scalar(doubts) or 0
    late = (now - due_at).total_seconds() if due_at is not None and due_at <= now else None
    age = None if created_at is None else (now - created_at).total_seconds()
    counted = {state.value: found.get(state.value, 0) for state in State}
    return Overview(counted, late, age, in_doubt)


async def list_(
    database: Database, *, states: Sequence[str] = (), limit: int = 50, oldest: bool = False
) -> list[Listed]:
    """Return the newest `limit` deliveries, or the `oldest`, of certain `states` or of all."""
    order = table.c.id if oldest else table.c.id.desc()
    statement = select(*_listed()).order_by(order).limit(limit)
    if states:
        statement = statement.where(table.c.state.in_(states))
    async with database.reading() as connection:
        return [_as_listed(row) for row in await connection.execute(statement)]


async def show(outbox: Outbox, id_: int) -> Shown | None:
    """Return one delivery, or None."""
    content = select(Content.message).where(Content.id == table.c.content_id).scalar_subquery()
    statement = select(*_listed(), table.c.params, content).where(table.c.id == id_)
    async with outbox.database.reading() as connection:
        row = (await connection.execute(statement)).first()
    if row is None:
        return None
    *_, params, message = row
    kind = outbox.kinds.get(row.kind)
    is_secret = kind is None or kind.secret
    return Shown(_as_listed(row), None if is_secret else params, message and message["subject"])


def _listed() -> list[Any]:
    return [table.c[name] for name in Listed.__dataclass_fields__]


def _as_listed(row: Sequence[Any]) -> Listed:
    return Listed(*row[: len(Listed.__dataclass_fields__)])
