"""Unique keys: given up at the fence, taken back by a mail that waits again and has not reached DATA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.outbox.claim import Claim, table
from app.outbox.models import State
from app.outbox.rules import Settlement

HOLDERS = select(table.c.unique_key, table.c.id).where(
    table.c.unique_key.in_(bindparam("keys", expanding=True))
)
REPLACED = "A newer request has taken its place."


async def take_back(
    connection: AsyncConnection, settled: Sequence[tuple[Claim, Settlement]]
) -> list[tuple[Claim, Settlement, str | None]]:
    """Return each with the key it takes back, if any; one that was asked for anew meanwhile is skipped."""
    wanted = {claim.unique_key for claim, settlement in settled if _wants_key(claim, settlement)}
    if not wanted:
        return [(claim, settlement, None) for claim, settlement in settled]
    found = await connection.execute(HOLDERS, {"keys": list(wanted)})
    holders: dict[str | None, int] = {row.unique_key: row.id for row in found}
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
