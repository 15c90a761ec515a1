"""Claims: one process takes rows that are due, for the duration of a lease.

A claim is a `claim_id` that is used once, with `due_at` as the end of its lease. No two processes claim a
row: on PostgreSQL the others skip locked rows, on SQLite they wait for BEGIN IMMEDIATE. Whatever is written
for a claim requires that the row is `still_owned`, so that a process that lost it changes nothing.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import BindParameter, Integer, Select, String, bindparam, cast, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import Unreadable, UtcDateTime
from app.outbox.models import Priority, State, table
from app.outbox.policy import ClaimLimit

_now = bindparam("now_", type_=UtcDateTime())
_lease_end = bindparam("lease_end", type_=UtcDateTime())


@dataclass(slots=True, eq=False)
class Claim:
    """A row as it was when it was claimed, owned until `lease_end`, and the progress of its delivery."""

    id: int
    claim_id: str
    kind: str
    params: dict[str, Any] | Unreadable | None
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
    is_replaceable: bool = True
    """Whether a newer mail with the same unique key replaces this one."""
    is_transient: bool = False
    """Whether the parameters are erased when the row is done."""
    is_decoy: bool = False
    """Whether the mail is rendered, but not sent (see `Rendered`)."""
    is_probe: bool = False
    is_sending: bool = False
    """Whether the row is in `sending`."""
    is_at_data: bool = False
    """Whether DATA may have begun."""
    is_lost: bool = False
    """Whether the lease has ended; the row may belong to another process."""
    is_stopping: bool = False
    """Whether the courier is stopping, so that the row is released unless DATA has begun."""

    def may_send(self, now: datetime, margin: timedelta) -> bool:
        """Return whether DATA may begin: the lease runs for `margin` more, and the mail has not expired."""
        is_expired = self.expires_at is not None and now >= self.expires_at
        return not (self.is_lost or is_expired or now >= self.lease_end - margin)


def _due_of(priority: Priority, limit: str) -> Select[Any]:
    alive = or_(table.c.expires_at.is_(None), table.c.expires_at > _now)
    rows = (
        select(table.c.id, table.c.priority, table.c.due_at)
        .where(table.c.priority == priority, table.c.due_at <= _now, alive)
        .order_by(table.c.due_at)
        .limit(bindparam(limit, type_=Integer))
        .with_for_update(skip_locked=True)
    )
    return select(rows.subquery())


def _due() -> Any:
    """Return the rows to claim as a CTE, so that PostgreSQL evaluates it once.

    One index range per priority: neither a backlog of less urgent rows nor of rows due later is scanned.
    """
    others = [_due_of(priority, "bulk") for priority in Priority if priority]
    bulk = union_all(*others).subquery()
    first = select(bulk).order_by(bulk.c.priority, bulk.c.due_at).limit(bindparam("bulk", type_=Integer))
    rows = union_all(_due_of(Priority.RESET, "total"), select(first.subquery())).subquery()
    order = (rows.c.priority, rows.c.due_at)
    return select(rows.c.id).order_by(*order).limit(bindparam("total", type_=Integer)).cte()


DUE = _due()
CLAIMED_COLUMNS = (
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
CLAIM = (
    update(table)
    .where(table.c.id.in_(select(DUE.c.id)))
    .values(
        claim_id=bindparam("claim", type_=String) + cast(table.c.id, String),
        due_at=_lease_end,
        in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
        state=State.QUEUED.value,
    )
    .returning(*(table.c[name] for name in CLAIMED_COLUMNS))
)
_ids: BindParameter[Sequence[int]] = bindparam("ids", expanding=True)
CLAIMED = (
    select(table.c.claim_id)
    .where(table.c.id.in_(_ids), table.c.due_at > _now)
    .order_by(table.c.id)
    .with_for_update()
)
RENEW = update(table).where(table.c.id.in_(_ids)).values(due_at=_lease_end)


async def claim_due(
    connection: AsyncConnection, limit: ClaimLimit, *, now: datetime, lease: float
) -> list[Claim]:
    """Claim due rows for `lease` seconds, resets first, then by priority and the time they became due.

    A row found in `sending` was left there by a process that died, and may have been delivered.
    """
    lease_end = now + timedelta(seconds=lease)
    values = {"now_": now, "claim": f"{secrets.token_hex(8)}-", "lease_end": lease_end}
    result = await connection.execute(CLAIM, values | {"total": limit.total, "bulk": limit.bulk})
    rows = (dict(zip(CLAIMED_COLUMNS, row, strict=True)) for row in result)
    claims = [Claim(**row, claimed_at=now, lease_end=lease_end) for row in rows]
    return sorted(claims, key=attrgetter("priority", "id"))


async def still_owned(connection: AsyncConnection, claims: Sequence[Claim], *, now: datetime) -> set[Claim]:
    """Return the claims whose rows are still owned, and lock these for the rest of the transaction."""
    rows = await connection.execute(CLAIMED, {"ids": [claim.id for claim in claims], "now_": now})
    current = set(rows.scalars())
    return {claim for claim in claims if claim.claim_id in current}


async def renew(connection: AsyncConnection, claims: Iterable[Claim], *, now: datetime, lease: float) -> None:
    """Let the leases of owned claims end `lease` seconds from `now`."""
    ids = [claim.id for claim in claims]
    await connection.execute(RENEW, {"ids": ids, "lease_end": now + timedelta(seconds=lease)})
