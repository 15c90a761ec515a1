"""Unique keys: given up at the fence, taken back by a mail that waits again and has not reached DATA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from app.database import Query, Transaction
from app.database.places import batches, placed, places
from app.outbox.claim import Claim, table
from app.outbox.models import State
from app.outbox.rules import Settlement

HOLDERS = Query(
    select(table.c.unique_key, table.c.id).where(
        table.c.unique_key.in_(places("key", table.c.unique_key.type))
    )
)
REPLACED = "A newer request has taken its place."


async def take_back(
    transaction: Transaction, settled: Sequence[tuple[Claim, Settlement]]
) -> list[tuple[Claim, Settlement, str | None]]:
    """Return each with the key it takes back, if any; one that was asked for anew meanwhile is skipped."""
    wanted = [claim.unique_key for claim, settlement in settled if _wants_key(claim, settlement)]
    holders: dict[str | None, int] = {}
    for some in batches(wanted):
        holders.update(await transaction.run(HOLDERS, placed("key", some)))
    decided = []
    for claim, settlement in sorted(settled, key=lambda pair: -pair[0].id):
        key = None
        if _wants_key(claim, settlement):
            holder = holders.setdefault(claim.unique_key, claim.id)
            if holder > claim.id:
                settlement = replace(settlement, state=State.SKIPPED, wait=None, text=REPLACED)
            elif holder == claim.id:
                key = claim.unique_key
        decided.append((claim, settlement, key))
    return decided


def _wants_key(claim: Claim, settlement: Settlement) -> bool:
    waits = not (settlement.state.is_done or settlement.in_doubt)
    return waits and claim.is_fenced and claim.unique_key is not None
