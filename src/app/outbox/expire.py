"""Expiry: what was not sent in time is not sent any more, and says so."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import UtcDateTime
from app.outbox.claim import table
from app.outbox.models import State

EXPIRED_AT_ONCE = 500
"""Rows moved to `expired` by one statement."""

_now = bindparam("now_", type_=UtcDateTime())
_LATE = (
    select(table.c.id)
    .where(
        table.c.expires_at <= _now,
        or_(table.c.claim_id.is_(None), table.c.due_at <= _now),
    )
    .limit(EXPIRED_AT_ONCE)
    .with_for_update(skip_locked=True)
    .cte()
)
EXPIRE = (
    update(table)
    .where(table.c.id.in_(select(_LATE.c.id)))
    .values(
        state=State.EXPIRED.value,
        in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
        due_at=None,
        expires_at=None,
        claim_id=None,
        unique_key=None,
        done_at=_now,
        last_text=case(
            (table.c.last_text.is_(None), "It was not sent in time."), else_=table.c.last_text
        ),
    )
    .returning(table.c.id)
)


async def expire(connection: AsyncConnection, *, now: datetime) -> list[int]:
    """Move rows past their `expires_at`, that nobody holds, to `expired`; return their ids."""
    return list((await connection.execute(EXPIRE, {"now_": now})).scalars())
