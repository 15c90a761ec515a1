"""The statement that ends a claim: what the rules decided, written for many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import case, delete, exists, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database import UtcDateTime
from app.outbox.claim import Claim, held
from app.outbox.models import LONGEST_TEXT, Content, Delivery, State
from app.outbox.rules import Settlement

Settled = tuple[Claim, Settlement]


async def settle(session: AsyncSession, settled: Sequence[Settled], *, now: datetime) -> set[int]:
    """Write what became of each claim; return the ids of those that still were ours."""
    passed: set[int] = set()
    for _, group in groupby(sorted(settled, key=_likeness), key=_likeness):
        passed |= await _settle_alike(session, list(group), now)
    contents = {claim.content_id for claim, settlement in settled if settlement.state.is_done}
    if contents - {None}:
        await drop_contents(session, contents - {None})
    return passed


def _likeness(settled: Settled) -> tuple[Any, ...]:
    """Return what rows must have in common to be written by one statement."""
    claim, settlement = settled
    return (
        settlement.state,
        -1.0 if settlement.wait is None else settlement.wait,
        settlement.attempts,
        settlement.in_doubt,
        settlement.code or 0,
        claim.about or "",
    )


async def _settle_alike(session: AsyncSession, alike: list[Settled], now: datetime) -> set[int]:
    claims = [claim for claim, _ in alike]
    statement = (
        update(Delivery)
        .where(*held(claims, now))
        .values(**_values(*alike[0], now), last_text=_texts(alike))
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return set((await session.execute(statement)).scalars())


def _values(claim: Claim, settlement: Settlement, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": settlement.state,
        "attempts": settlement.attempts,
        "in_doubt": settlement.in_doubt,
        "last_code": settlement.code,
        "claim_id": None,
    }
    if settlement.wait is not None:
        values["due_at"] = now + timedelta(seconds=settlement.wait)
    else:
        values |= {"due_at": None, "expires_at": None, "unique_key": None, "done_at": now}
    if settlement.state in (State.SENT, State.SKIPPED):
        values |= {"params": None, "content_id": None}
    if settlement.state is State.SENT:
        values |= {
            "about": claim.about,
            "handed_at": func.coalesce(Delivery.handed_at, literal(now, UtcDateTime())),
        }
    elif not settlement.in_doubt:
        values["handed_at"] = None
    return values


def _texts(alike: list[Settled]) -> Any:
    texts = {claim.id: (settlement.text or "")[:LONGEST_TEXT] for claim, settlement in alike}
    if len(set(texts.values())) == 1:
        return alike[0][1].text and texts[alike[0][0].id]
    return case(texts, value=Delivery.id)


async def drop_contents(session: AsyncSession, ids: set[Any]) -> None:
    """Delete those contents that no delivery needs any more."""
    needed = exists(select(Delivery.id).where(Delivery.content_id == Content.id))
    await session.execute(
        delete(Content)
        .where(Content.id.in_(ids), ~needed)
        .execution_options(synchronize_session=False)
    )
