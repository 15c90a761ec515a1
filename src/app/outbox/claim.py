"""Claims: the statements that take rows, see whether they still are held and renew them.

A claim is a row's `claim_id`, which no other claim ever has, with `due_at` as the end of its lease. Whatever
is written for a claim asks first whether it still is one: who lost it changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from typing import cast as typed

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    String,
    Table,
    and_,
    bindparam,
    cast,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import UtcDateTime
from app.database.fetching import Change
from app.outbox.models import Delivery, Priority, State

table = typed(Table, Delivery.__table__)
_now = bindparam("now_", type_=UtcDateTime())
_alive = or_(table.c.expires_at.is_(None), table.c.expires_at > _now)


@dataclass(slots=True, eq=False)
class Claim:
    """A row that is ours until `lease_end`, as it was when we took it: first the columns of TAKE."""

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
TAKE = Change(
    update(table)
    .where(table.c.id.in_(select(DUE.c.id)))
    .values(
        claim_id=bindparam("claim", type_=String) + cast(table.c.id, String),
        due_at=bindparam("lease_end", type_=UtcDateTime()),
        in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
        state=State.QUEUED.value,
    )
    .returning(
        table.c.id,
        table.c.claim_id,
        table.c.kind,
        table.c.params,
        table.c.content_id,
        table.c.recipient,
        table.c.message_id,
        table.c.priority,
        table.c.attempts,
        table.c.in_doubt,
        table.c.created_at,
        table.c.expires_at,
        table.c.unique_key,
    )
)
ARE_HELD: ColumnElement[bool] = and_(
    table.c.id.in_(bindparam("ids", expanding=True)),
    table.c.claim_id.in_(bindparam("claims", expanding=True)),
    table.c.due_at > _now,
)
"""That rows are ours and their leases still run; for the values of `named`."""
SLOTS = 8
"""Rows that one run of a statement with ARE_IN_SLOTS writes: its text, made once, names a place for each."""
ARE_IN_SLOTS: ColumnElement[bool] = and_(
    table.c.id.in_([bindparam(f"id{n}", type_=table.c.id.type) for n in range(SLOTS)]),
    table.c.claim_id.in_([bindparam(f"claim{n}", type_=String) for n in range(SLOTS)]),
    table.c.due_at > _now,
)
"""As ARE_HELD, for the values of `in_slots`."""
HELD = select(table.c.id).where(ARE_HELD).order_by(table.c.id).with_for_update()
RENEW = (
    update(table)
    .where(ARE_HELD)
    .values(due_at=bindparam("lease_end", type_=UtcDateTime()))
    .returning(table.c.id)
)


async def take(
    connection: AsyncConnection, room: Room, *, now: datetime, lease: float
) -> list[Claim]:
    """Claim what is due, resets first, the longest due first; `lease` in seconds.

    A row found in `sending` was left there by a holder that died: it may have arrived.
    """
    lease_end = now + timedelta(seconds=lease)
    values = {"now_": now, "claim": f"{secrets.token_hex(8)}-", "lease_end": lease_end}
    rows = await TAKE.run(connection, values | {"total": room.total, "bulk": room.bulk})
    claims = [Claim(*(*row, now, lease_end)) for row in rows]
    return sorted(claims, key=lambda claim: (claim.priority, claim.id))


def named(claims: Iterable[Claim], now: datetime) -> dict[str, Any]:
    """Return the values that ARE_HELD asks for."""
    claims = list(claims)
    ids, claim_ids = [claim.id for claim in claims], [claim.claim_id for claim in claims]
    return {"ids": ids, "claims": claim_ids, "now_": now}


def in_slots(claims: Sequence[Claim], now: datetime) -> dict[str, Any]:
    """Return the values that ARE_IN_SLOTS asks for; `claims` are SLOTS at most."""
    values: dict[str, Any] = {"now_": now}
    for n in range(SLOTS):
        claim = claims[n] if n < len(claims) else None
        values[f"id{n}"], values[f"claim{n}"] = claim and claim.id, claim and claim.claim_id
    return values


async def held(connection: AsyncConnection, claims: Iterable[Claim], *, now: datetime) -> set[int]:
    """Return the ids of those of `claims` that still are held, and keep it so in this transaction."""
    return set((await connection.execute(HELD, named(claims, now))).scalars())


async def renew(
    connection: AsyncConnection, claims: Sequence[Claim], *, now: datetime, lease: float
) -> set[int]:
    """Make the leases of `claims` end `lease` seconds from `now`; return the ids of those still held."""
    lease_end = now + timedelta(seconds=lease)
    values = named(claims, now) | {"lease_end": lease_end}
    kept = set((await connection.execute(RENEW, values)).scalars())
    for claim in claims:
        if claim.id in kept:
            claim.lease_end = lease_end
    return kept
