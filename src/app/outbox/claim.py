"""Claims: the statements that take rows, see whether they still are held, renew them and let them expire.

A claim is a row's `claim_id` with `due_at` as the end of its lease. Whatever is written for a claim is
written in a transaction that began by looking (`held`) whether it still is one: who lost it changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Select, Table, bindparam, case, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import UtcDateTime
from app.outbox.models import Delivery, Priority, State

EXPIRED_AT_ONCE = 500
"""Rows moved to `expired` by one statement."""

table = cast(Table, Delivery.__table__)
_now = bindparam("now_", type_=UtcDateTime())
_alive = or_(table.c.expires_at.is_(None), table.c.expires_at > _now)


@dataclass(slots=True, eq=False)
class Claim:
    """A row that is ours until `lease_end`, as it was when we took it."""

    id: int
    kind: str
    params: dict[str, Any] | None
    content_id: int | None
    recipient: str | None
    message_id: str
    priority: int
    attempts: int
    in_doubt: bool
    created_at: datetime
    claim_id: str
    claimed_at: datetime
    lease_end: datetime
    about: str | None = None
    is_fenced: bool = False
    is_at_data: bool = False
    is_lost: bool = False
    is_probe: bool = False

    @property
    def key(self) -> tuple[int, str]:
        """What tells this claim from an earlier or later one of the same row."""
        return self.id, self.claim_id


@dataclass(frozen=True, slots=True)
class Room:
    """How many rows may be claimed: `total` in all, of which at most `bulk` are no resets."""

    total: int
    bulk: int


def _due_of(priority: Priority, limit: str) -> Select[Any]:
    rows = (
        select(table.c.id, table.c.priority, table.c.due_at)
        .where(table.c.priority == priority, table.c.due_at <= _now, _alive)
        .order_by(table.c.due_at)
        .limit(bindparam(limit))
        .with_for_update(skip_locked=True)
    )
    return select(rows.subquery())


def _due() -> Any:
    """Return the rows to claim, as a CTE: PostgreSQL looks at it once.

    One range of the index for each priority: neither a crowd of less urgent rows nor one of rows that are
    due later is ever walked through.
    """
    others = [_due_of(priority, "bulk") for priority in Priority if priority]
    bulk = union_all(*others).subquery()
    first = select(bulk).order_by(bulk.c.priority, bulk.c.due_at).limit(bindparam("bulk"))
    found = union_all(_due_of(Priority.RESET, "total"), select(first.subquery())).subquery()
    order = (found.c.priority, found.c.due_at)
    return select(found.c.id).order_by(*order).limit(bindparam("total")).cte()


DUE = _due()
TAKE = (
    update(table)
    .where(table.c.id.in_(select(DUE.c.id)))
    .values(
        claim_id=bindparam("claim"),
        due_at=bindparam("lease_end", type_=UtcDateTime()),
        in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
        state=State.QUEUED.value,
    )
    .returning(
        table.c.id,
        table.c.kind,
        table.c.params,
        table.c.content_id,
        table.c.recipient,
        table.c.message_id,
        table.c.priority,
        table.c.attempts,
        table.c.in_doubt,
        table.c.created_at,
    )
)
HELD = (
    select(table.c.id, table.c.claim_id)
    .where(table.c.id.in_(bindparam("ids", expanding=True)), table.c.due_at > _now)
    .order_by(table.c.id)
    .with_for_update()
)
RENEW = (
    update(table)
    .where(table.c.id.in_(bindparam("ids", expanding=True)))
    .values(due_at=bindparam("lease_end", type_=UtcDateTime()))
)
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


async def take(
    connection: AsyncConnection, room: Room, *, now: datetime, lease: float
) -> list[Claim]:
    """Claim what is due, resets first, the longest due first; `lease` in seconds.

    A row found in `sending` was left there by a holder that died: it may have arrived.
    """
    claim_id, lease_end = uuid.uuid4().hex, now + timedelta(seconds=lease)
    values = {"now_": now, "claim": claim_id, "lease_end": lease_end}
    rows = await connection.execute(TAKE, values | {"total": room.total, "bulk": room.bulk})
    ours: dict[str, Any] = {"claim_id": claim_id, "claimed_at": now, "lease_end": lease_end}
    claims = [Claim(**row, **ours) for row in rows.mappings()]
    return sorted(claims, key=lambda claim: (claim.priority, claim.id))


async def held(
    connection: AsyncConnection, claims: Iterable[Claim], *, now: datetime
) -> set[tuple[int, str]]:
    """Return the keys of those of `claims` that still are held, and keep it so for this transaction."""
    ids = sorted({claim.id for claim in claims})
    rows = await connection.execute(HELD, {"ids": ids, "now_": now})
    return {(row[0], row[1]) for row in rows}


async def renew(
    connection: AsyncConnection, claims: Sequence[Claim], *, now: datetime, lease: float
) -> None:
    """Make the leases of `claims`, which are held, end `lease` seconds from `now`."""
    lease_end = now + timedelta(seconds=lease)
    ids = [claim.id for claim in claims]
    await connection.execute(RENEW, {"ids": ids, "lease_end": lease_end})
    for claim in claims:
        claim.lease_end = lease_end


async def expire(connection: AsyncConnection, *, now: datetime) -> list[int]:
    """Move rows past their `expires_at`, that nobody holds, to `expired`; return their ids."""
    return list((await connection.execute(EXPIRE, {"now_": now})).scalars())
