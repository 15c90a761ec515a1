"""What is held: whatever is written for claims is written only where they still are ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, and_, bindparam, select, update

from app.database import Query, Transaction, UtcDateTime
from app.database.places import batches, placed, places
from app.outbox.claim import Claim, table

ARE_HELD: ColumnElement[bool] = and_(
    table.c.id.in_(places("id", table.c.id.type)),
    table.c.claim_id.in_(places("claim", String())),
    table.c.due_at > bindparam("now_", type_=UtcDateTime()),
)
"""That rows are ours and their leases still run; for the values of `values_of`."""
HELD = Query(select(table.c.id).where(ARE_HELD).order_by(table.c.id).with_for_update())
RENEW = Query(
    update(table)
    .where(ARE_HELD)
    .values(due_at=bindparam("lease_end", type_=UtcDateTime()))
    .returning(table.c.id)
)


def values_of(claims: Sequence[Claim], now: datetime) -> dict[str, Any]:
    """Return the values that ARE_HELD asks for, about PLACES claims at most."""
    ids = placed("id", [claim.id for claim in claims])
    return ids | placed("claim", [claim.claim_id for claim in claims]) | {"now_": now}


async def run_for(
    transaction: Transaction, query: Query, claims: Sequence[Claim], now: datetime, **values: Any
) -> set[int]:
    """Run `query`, which returns the ids of rows that ARE_HELD, for `claims`; return those ids."""
    passed: set[int] = set()
    for some in batches(claims):
        rows = await transaction.run(query, values_of(some, now) | values)
        passed.update(id_ for (id_,) in rows)
    return passed


async def still_held(
    transaction: Transaction, claims: Sequence[Claim], *, now: datetime
) -> set[int]:
    """Return the ids of those of `claims` that still are held, and keep it so in this transaction."""
    return await run_for(transaction, HELD, claims, now)


async def renew(
    transaction: Transaction, claims: Sequence[Claim], *, now: datetime, lease: float
) -> set[int]:
    """Make the leases of `claims` end `lease` seconds from `now`; return the ids of those still held."""
    lease_end = now + timedelta(seconds=lease)
    return await run_for(transaction, RENEW, claims, now, lease_end=lease_end)
