"""Claims: taking rows that are due.

A claim is a row's `claim_id`, which no other claim ever has, with `due_at` as the end of its lease. Whatever
is written for a claim asks first whether it still is one (`app.outbox.held`): who lost it changes nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from typing import cast as typed

from sqlalchemy import (
    Integer,
    Select,
    String,
    Table,
    bindparam,
    cast,
    or_,
    select,
    union_all,
    update,
)

from app.database import Query, Transaction, UtcDateTime
from app.outbox.models import Delivery, Priority, State

table = typed(Table, Delivery.__table__)
_now = bindparam("now_", type_=UtcDateTime())
_alive = or_(table.c.expires_at.is_(None), table.c.expires_at > _now)


@dataclass(slots=True, eq=False)
class Claim:
    """A row that is ours until `lease_end`, as it was when we took it, and how far we are with it."""

    id: int
    claim_id: str
    kind: str
    params: dict[str, Any] | None
    content_id: int | None
    recipient: str | None
    message_id: str
    priority: int
    attempts: int
    in_doubt: bool
    created_at: datetime
    expires_at: datetime | None
    unique_key: str | None
    claimed_at: datetime
    lease_end: datetime
    about: str | None = None
    is_fenced: bool = False
    is_at_data: bool = False
    is_lost: bool = False
    is_probe: bool = False

    def may_begin(self, now: datetime, margin: timedelta) -> bool:
        """Return whether DATA may begin: it is ours until `margin` from now, and it is not too late."""
        is_late = self.expires_at is not None and now >= self.expires_at
        return not (self.is_lost or is_late or now >= self.lease_end - margin)


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
        .limit(bindparam(limit, type_=Integer))
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
    first = (
        select(bulk)
        .order_by(bulk.c.priority, bulk.c.due_at)
        .limit(bindparam("bulk", type_=Integer))
    )
    found = union_all(_due_of(Priority.RESET, "total"), select(first.subquery())).subquery()
    order = (found.c.priority, found.c.due_at)
    return select(found.c.id).order_by(*order).limit(bindparam("total", type_=Integer)).cte()


DUE = _due()
TAKEN = (
    "id",
    "claim_id",
    "kind",
    "params",
    "content_id",
    "recipient",
    "message_id",
    "priority",
    "attempts",
    "in_doubt",
    "created_at",
    "expires_at",
    "unique_key",
)
"""The columns of a row that its claim knows, under the same names."""
TAKE = Query(
    update(table)
    .where(table.c.id.in_(select(DUE.c.id)))
    .values(
        claim_id=bindparam("claim", type_=String) + cast(table.c.id, String),
        due_at=bindparam("lease_end", type_=UtcDateTime()),
        in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
        state=State.QUEUED.value,
    )
    .returning(*(table.c[name] for name in TAKEN))
)


async def take(transaction: Transaction, room: Room, *, now: datetime, lease: float) -> list[Claim]:
    """Claim what is due, resets first, the longest due first; `lease` in seconds.

    A row found in `sending` was left there by a holder that died: it may have arrived.
    """
    lease_end = now + timedelta(seconds=lease)
    values = {"now_": now, "claim": f"{secrets.token_hex(8)}-", "lease_end": lease_end}
    rows = await transaction.run(TAKE, values | {"total": room.total, "bulk": room.bulk})
    taken = (dict(zip(TAKEN, row, strict=True)) for row in rows)
    claims = [Claim(**columns, claimed_at=now, lease_end=lease_end) for columns in taken]
    return sorted(claims, key=lambda claim: (claim.priority, claim.id))
