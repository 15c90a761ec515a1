"""Leases: those of the claims a courier holds are renewed, and what is lost is not delivered on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable
from app.outbox.claim import Claim
from app.outbox.ledger import Ledger
from app.outbox.state import Outbox


async def keep_leases(
    outbox: Outbox, ledger: Ledger, held: Mapping[asyncio.Task[None], Claim]
) -> None:
    """Renew what is `held` every so often, until nothing is; cancel the deliveries of what was lost."""
    while held:
        await asyncio.sleep(outbox.renew)
        now, claims = outbox.clock(), list(held.values())
        try:
            lost = await ledger.renew(claims, outbox.lease)
        except (DatabaseUnavailable, DBAPIError):
            lost = [claim for claim in claims if claim.lease_end <= now]
        for task, claim in held.items():
            if claim in lost:
                claim.is_lost = True
                task.cancel()
