"""The statements that move a row: claim, renew, fence, settle, expire. Each is atomic in itself.

A claim is a row's `claim_id` with `due_at` as the end of its lease. Every later statement names the claim and
asks that the lease still runs, so that who lost a claim changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, or_, select, tuple_, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.outbox.models import Delivery, Priority, State

_ROW = (
    Delivery.id,
    Delivery.kind,
    Delivery.params,
    Delivery.content_id,
    Delivery.recipient,
    Delivery.message_id,
    Delivery.priority,
    Delivery.attempts,
    Delivery.in_doubt,
    Delivery.created_at,
)


@dataclass(slots=True, eq=False)
class Claim:
    """A row that is ours until `lease_end`, as it was when we took it."""

    id: int
    claim_id: str
    lease_end: datetime
    kind: str
    params: dict[str, Any]
    content_id: int | None
    recipient: str | None
    message_id: str
    priority: int
    attempts: int
    in_doubt: bool
    created_at: datetime
    claimed_at: datetime
    about: str | None = None
    is_fenced: bool = False
    is_lost: bool = False
    is_probe: bool = False

    @property
    def key(self) -> tuple[int, str]:
        """What a statement names the claim by."""
        return self.id, self.claim_id


@dataclass(frozen=True, slots=True)
class Room:
    """How many rows may be claimed: `total` in all, of which at most `bulk` are no resets."""

    total: int
    bulk: int


async def take(
    session: AsyncSession, room: Room, *, now: datetime, lease: float, avoid: Sequence[int] = ()
) -> list[Claim]:
    """Claim what is due, resets first, the longest due first; `lease` in seconds.

    A row found in `sending` was left there by a holder that died: it may have arrived.
    """
    claim_id, lease_end = uuid.uuid4().hex, now + timedelta(seconds=lease)
    statement = (
        update(Delivery)
        .where(Delivery.id.in_(select(_due(room, now, avoid).c.id)))
        .values(
            claim_id=claim_id,
            due_at=lease_end,
            in_doubt=or_(Delivery.in_doubt, Delivery.state == State.SENDING),
            state=State.QUEUED,
        )
        .returning(*_ROW)
        .execution_options(synchronize_session=False)
    )
    rows = (await session.execute(statement)).mappings().all()
    claims = [
        Claim(
            **{**row, "params": row["params"] or {}},
            claim_id=claim_id,
            lease_end=lease_end,
            claimed_at=now,
        )
        for row in rows
    ]
    return sorted(claims, key=lambda claim: (claim.priority, claim.id))


def _due(room: Room, now: datetime, avoid: Sequence[int]) -> Any:
    """Return the rows to claim, as a CTE: PostgreSQL looks at it once.

    One range of the index for each priority: neither a crowd of less urgent rows nor one of rows that are
    due later is ever walked through.
    """
    resets = _due_of(Priority.RESET, room.total, now, avoid)
    others = [_due_of(priority, room.bulk, now, avoid) for priority in Priority if priority]
    bulk = union_all(*others).subquery()
    bulk_first = select(bulk).order_by(bulk.c.priority, bulk.c.due_at).limit(room.bulk).subquery()
    found = union_all(resets, select(bulk_first)).subquery()
    return select(found.c.id).order_by(found.c.priority, found.c.due_at).limit(room.total).cte()


def _due_of(priority: Priority, limit: int, now: datetime, avoid: Sequence[int]) -> Select[Any]:
    rows = (
        select(Delivery.id, Delivery.priority, Delivery.due_at)
        .where(Delivery.priority == priority, Delivery.due_at <= now, is_alive(now))
        .order_by(Delivery.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if avoid:
        rows = rows.where(Delivery.id.not_in(avoid))
    return select(rows.subquery())


def is_alive(now: datetime) -> ColumnElement[bool]:
    """Say in SQL that a row is not past its `expires_at`."""
    return or_(Delivery.expires_at.is_(None), Delivery.expires_at > now)


def held(claims: Iterable[Claim], now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Say in SQL that a row is one of `claims` and its lease still runs."""
    keys = [claim.key for claim in claims]
    return (
        Delivery.id.in_([key[0] for key in keys]),
        tuple_(Delivery.id, Delivery.claim_id).in_(keys),
        Delivery.due_at > now,
    )


async def renew(
    session: AsyncSession, claims: Sequence[Claim], *, now: datetime, lease: float
) -> set[int]:
    """Make the leases of `claims` end `lease` seconds from `now`; return the ids that still are ours."""
    statement = (
        update(Delivery)
        .where(*held(claims, now))
        .values(due_at=now + timedelta(seconds=lease))
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return set((await session.execute(statement)).scalars())


async def fence(session: AsyncSession, claims: Sequence[Claim], *, now: datetime) -> set[int]:
    """Move `claims` to `sending`; return the ids of those whose DATA may begin.

    A mail about somebody is not let through when another of its kind about the same one has been since it was
    claimed: its renderer counted without that one (see `count_since`), and must be asked again.
    """
    plain = [claim for claim in claims if claim.about is None]
    passed = await _fence_all(session, plain, now) if plain else set()
    for claim in sorted(claims, key=lambda claim: (claim.about or "", claim.id)):
        if claim.about is not None and await _is_alone(session, claim):
            passed |= await _fence_all(session, [claim], now)
    return passed


async def _fence_all(session: AsyncSession, claims: Sequence[Claim], now: datetime) -> set[int]:
    statement = (
        update(Delivery)
        .where(*held(claims, now), Delivery.state == State.QUEUED)
        .values(state=State.SENDING, handed_at=now, unique_key=None, about=claims[0].about)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return set((await session.execute(statement)).scalars())


async def _is_alone(session: AsyncSession, claim: Claim) -> bool:
    if session.get_bind().dialect.name == "postgresql":
        lock = func.hashtextextended(f"{claim.kind} {claim.about}", 0)
        await session.execute(select(func.pg_advisory_xact_lock(lock)))
    others = select(Delivery.id).where(
        Delivery.about == claim.about,
        Delivery.kind == claim.kind,
        Delivery.handed_at >= claim.claimed_at,
        Delivery.id != claim.id,
    )
    return (await session.execute(others.limit(1))).first() is None


async def expire(session: AsyncSession, *, now: datetime) -> list[int]:
    """Move rows past their `expires_at`, that nobody holds, to `expired`; return their ids."""
    statement = (
        update(Delivery)
        .where(
            Delivery.expires_at <= now,
            or_(Delivery.claim_id.is_(None), Delivery.due_at <= now),
        )
        .values(
            state=State.EXPIRED,
            in_doubt=or_(Delivery.in_doubt, Delivery.state == State.SENDING),
            due_at=None,
            expires_at=None,
            claim_id=None,
            unique_key=None,
            done_at=now,
            last_text=case(
                (Delivery.last_text.is_(None), "It was not sent in time."), else_=Delivery.last_text
            ),
        )
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return list((await session.execute(statement)).scalars())
