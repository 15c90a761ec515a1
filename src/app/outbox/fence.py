"""The fence: DATA begins only for rows in `sending`, so that all that may arrive twice is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import UtcDateTime
from app.database.fetching import Change
from app.outbox.claim import ARE_IN_SLOTS, SLOTS, Claim, in_slots, table
from app.outbox.models import State

FENCE = Change(
    update(table)
    .where(ARE_IN_SLOTS, table.c.state == State.QUEUED.value)
    .values(
        state=State.SENDING.value,
        unique_key=None,
        about=bindparam("about_", type_=table.c.about.type),
        handed_at=bindparam("handed", type_=UtcDateTime()),
    )
    .returning(table.c.id)
)
OTHERS = (
    select(table.c.id)
    .where(
        table.c.about == bindparam("about_"),
        table.c.kind == bindparam("kind_"),
        table.c.handed_at >= bindparam("since", type_=UtcDateTime()),
        table.c.id != bindparam("id_"),
    )
    .limit(1)
)
LOCK = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), 0)))


async def fence(connection: AsyncConnection, claims: Sequence[Claim], *, now: datetime) -> set[int]:
    """Move those of `claims` that are held to `sending`; return the ids of those whose DATA may begin.

    A mail about somebody is not let through when another of its kind about the same one has been since it was
    claimed: its renderer counted without that one (see `count_since`), and must be asked again.
    """
    plain = [claim for claim in claims if claim.about is None]
    passed = await _fence(connection, plain, None, now) if plain else set()
    with_about = [claim for claim in claims if claim.about is not None]
    for claim in sorted(with_about, key=lambda claim: (claim.about or "", claim.id)):
        if await _is_alone(connection, claim):
            passed |= await _fence(connection, [claim], claim.about, now)
    return passed


async def _fence(
    connection: AsyncConnection, claims: Sequence[Claim], about: str | None, now: datetime
) -> set[int]:
    passed: set[int] = set()
    for first in range(0, len(claims), SLOTS):
        values = in_slots(claims[first : first + SLOTS], now) | {"about_": about, "handed": now}
        passed |= {row[0] for row in await FENCE.run(connection, values)}
    return passed


async def _is_alone(connection: AsyncConnection, claim: Claim) -> bool:
    if connection.dialect.name == "postgresql":
        await connection.execute(LOCK, {"key": f"{claim.kind} {claim.about}"})
    about = {"about_": claim.about, "kind_": claim.kind}
    others = about | {"since": claim.claimed_at, "id_": claim.id}
    return (await connection.execute(OTHERS, others)).first() is None
