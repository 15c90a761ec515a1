"""Settling: what the rules decided about claims is written, for many rows by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Integer, String, Table, bindparam, case, delete, func, update
from sqlalchemy.types import TypeEngine

from app.database import Query, Transaction, UtcDateTime
from app.database.places import batches, placed, places
from app.outbox import held, keys
from app.outbox.claim import Claim, table
from app.outbox.held import ARE_HELD
from app.outbox.models import LONGEST_TEXT, NEEDED, Content, State
from app.outbox.rules import Settlement

Settled = tuple[Claim, Settlement]

_time = UtcDateTime()
_handed_over = case(
    (bindparam("hand") == "now", func.coalesce(table.c.handed_at, bindparam("now_", type_=_time))),
    (bindparam("hand") == "keep", table.c.handed_at),
    else_=None,
)


def _by_row(name: str, kind: TypeEngine[Any]) -> Any:
    """Return what the values placed as `name` say of the rows whose ids are placed as `id`."""
    both = zip(places("id", table.c.id.type), places(name, kind), strict=True)
    return case(*((table.c.id == id_, value) for id_, value in both), else_=None)


SETTLE = Query(
    update(table)
    .where(table.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        attempts=bindparam("attempts_"),
        in_doubt=bindparam("in_doubt_"),
        last_code=case((bindparam("is_mute"), table.c.last_code), else_=bindparam("code")),
        last_text=case((bindparam("is_mute"), table.c.last_text), else_=bindparam("text_")),
        about=bindparam("about_"),
        claim_id=None,
        due_at=bindparam("due", type_=_time),
        done_at=bindparam("done", type_=_time),
        expires_at=case((bindparam("is_done"), None), else_=table.c.expires_at),
        unique_key=case(
            (bindparam("is_done"), None),
            else_=func.coalesce(bindparam("key", type_=String), table.c.unique_key),
        ),
        params=case((bindparam("forget"), None), else_=table.c.params),
        content_id=case((bindparam("forget"), None), else_=table.c.content_id),
        handed_at=_handed_over,
    )
)
SENT = Query(
    update(table)
    .where(ARE_HELD)
    .values(
        state=State.SENT.value,
        attempts=table.c.attempts + 1,
        last_code=_by_row("code", Integer()),
        last_text=_by_row("text", String()),
        claim_id=None,
        due_at=None,
        expires_at=None,
        unique_key=None,
        params=None,
        content_id=None,
        done_at=bindparam("done", type_=_time),
    )
    .returning(table.c.id)
)
DROP_CONTENTS = Query(
    delete(cast(Table, Content.__table__)).where(
        Content.id.in_(places("id", table.c.id.type)), ~NEEDED
    )
)


async def settle(
    transaction: Transaction, settled: Sequence[Settled], *, now: datetime
) -> set[int]:
    """Write what became of those claims that are held, and forget what nobody needs; return their ids."""
    sent = [pair for pair in settled if _is_plainly_sent(*pair)]
    others = [pair for pair in settled if not _is_plainly_sent(*pair)]
    passed = await _settle_sent(transaction, sent, now)
    if others:
        passed |= await _settle_others(transaction, others, now)
    contents = {claim.content_id for claim, settlement in settled if settlement.state.is_done}
    for ids in batches([*(contents - {None})]):
        await transaction.run(DROP_CONTENTS, placed("id", ids))
    return passed


def _is_plainly_sent(claim: Claim, settlement: Settlement) -> bool:
    return settlement.state is State.SENT and settlement.in_doubt == claim.in_doubt


async def _settle_sent(
    transaction: Transaction, sent: Sequence[Settled], now: datetime
) -> set[int]:
    passed: set[int] = set()
    for some in batches(sent):
        values = held.values_of([claim for claim, _ in some], now) | {"done": now}
        values |= placed("code", [settlement.code for _, settlement in some])
        values |= placed("text", [_short(settlement.text) for _, settlement in some])
        passed.update(id_ for (id_,) in await transaction.run(SENT, values))
    return passed


async def _settle_others(
    transaction: Transaction, others: Sequence[Settled], now: datetime
) -> set[int]:
    ids = await held.still_held(transaction, [claim for claim, _ in others], now=now)
    ours = [(claim, settlement) for claim, settlement in others if claim.id in ids]
    for claim, settlement, key in await keys.take_back(transaction, ours):
        await transaction.run(SETTLE, _values(claim, settlement, now) | {"key": key})
    return ids


def _short(text: str | None) -> str | None:
    return text and text[:LONGEST_TEXT]


def _values(claim: Claim, settlement: Settlement, now: datetime) -> dict[str, Any]:
    is_done = settlement.wait is None
    return {
        "id_": claim.id,
        "state_": settlement.state.value,
        "attempts_": settlement.attempts,
        "in_doubt_": settlement.in_doubt,
        "code": settlement.code,
        "text_": _short(settlement.text),
        "is_mute": settlement.text is None
        and not is_done,  # why it waits is still what was said before
        "about_": claim.about if claim.is_fenced else None,
        "due": _due(claim, settlement, now),
        "done": now if is_done else None,
        "is_done": is_done,
        "forget": settlement.state in (State.SENT, State.SKIPPED),
        "hand": _hand(settlement),
        "now_": now,
    }


def _due(claim: Claim, settlement: Settlement, now: datetime) -> datetime | None:
    """Return when the next attempt is due; what need not wait stands in line by the age of its request."""
    if settlement.wait is None:
        return None
    return (
        now + timedelta(seconds=settlement.wait) if settlement.wait else min(claim.created_at, now)
    )


def _hand(settlement: Settlement) -> str:
    """Say what `handed_at` becomes: what the server refused was not handed over."""
    if settlement.state is State.SENT:
        return "now"
    return "keep" if settlement.in_doubt else "clear"
