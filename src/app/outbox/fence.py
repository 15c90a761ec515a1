"""The fence: DATA begins only for rows in `sending`, so that all that may arrive twice is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import bindparam, func, select, update

from app.database import Query, Transaction, UtcDateTime
from app.outbox.claim import Claim, table
from app.outbox.held import ARE_HELD, run_for
from app.outbox.models import State

FENCE = Query(
    update(table)
    .where(ARE_HELD, table.c.state == State.QUEUED.value)
    .values(
        state=State.SENDING.value,
        unique_key=None,
        about=bindparam("about_", type_=table.c.about.type),
        handed_at=bindparam("handed", type_=UtcDateTime()),
    )
    .returning(table.c.id)
)
OTHERS = Query(
    select(table.c.id)
    .where(
        table.c.about == bindparam("about_"),
        table.c.kind == bindparam("kind_"),
        table.c.handed_at >= bindparam("since", type_=UtcDateTime()),
        table.c.id != bindparam("id_"),
    )
    .limit(1)
)
LOCK = Query(select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), 0))))


async def fence(transaction: Transaction, claims: Sequence[Claim], *, now: datetime) -> set[int]:
    """Move those of `claims` that are held to `sending`; return the ids of those whose DATA may begin.

    A mail about somebody is not let through when another of its kind about the same one has been since it was
    claimed: its renderer counted without that one (see `count_since`), and must be asked again.
    """
    plain = [claim for claim in claims if claim.about is None]
    passed = await run_for(transaction, FENCE, plain, now, about_=None, handed=now)
    with_about = [claim for claim in claims if claim.about is not None]
    for claim in sorted(with_about, key=lambda claim: (claim.about or "", claim.id)):
        if await _is_alone(transaction, claim):
            passed |= await run_for(
                transaction, FENCE, [claim], now, about_=claim.about, handed=now
            )
    return passed


async def _is_alone(transaction: Transaction, claim: Claim) -> bool:
    if transaction.dialect.name == "postgresql":
        await transaction.run(LOCK, {"key": f"{claim.kind} {claim.about}"})
    about = {"about_": claim.about, "kind_": claim.kind}
    others = about | {"since": claim.claimed_at, "id_": claim.id}
    return not await transaction.run(OTHERS, others)
