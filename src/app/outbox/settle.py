"""Settling: what the rules decided about claims is written, for many rows by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Integer, String, Table, bindparam, case, delete, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import UtcDateTime
from app.database.fetching import Change
from app.outbox import claim as claims
from app.outbox import keys
from app.outbox.claim import ARE_IN_SLOTS, SLOTS, Claim, in_slots, table
from app.outbox.models import LONGEST_TEXT, NEEDED, Content, State
from app.outbox.rules import Settlement

Settled = tuple[Claim, Settlement]

_time = UtcDateTime()
_is_done = bindparam("done", type_=_time).is_not(None)
_handed_over = case(
    (bindparam("hand") == "now", func.coalesce(table.c.handed_at, bindparam("now_", type_=_time))),
    (bindparam("hand") == "keep", table.c.handed_at),
    else_=None,
)


def _by_row(name: str, type_: type[Any]) -> Any:
    """Return what the values `id0`, `<name>0`, `id1`... say of a row."""
    of_rows = (
        (
            table.c.id == bindparam(f"id{n}", type_=table.c.id.type),
            bindparam(f"{name}{n}", type_=type_),
        )
        for n in range(SLOTS)
    )
    return case(*of_rows, else_=None)


SETTLE = (
    update(table)
    .where(table.c.id == bindparam("id_"))
    .values(
        state=bindparam("state_"),
        attempts=bindparam("attempts_"),
        in_doubt=bindparam("in_doubt_"),
        last_code=bindparam("code"),
        last_text=bindparam("text_"),
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
SENT = Change(
    update(table)
    .where(ARE_IN_SLOTS)
    .values(
        state=State.SENT.value,
        attempts=table.c.attempts + 1,
        last_code=_by_row("code", Integer),
        last_text=_by_row("text", String),
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
DROP_CONTENTS = delete(cast(Table, Content.__table__)).where(
    Content.id.in_(bindparam("ids", expanding=True)), ~NEEDED
)


async def settle(
    connection: AsyncConnection, settled: Sequence[Settled], *, now: datetime
) -> set[int]:
    """Write what became of those claims that are held, and forget what nobody needs; return their ids."""
    sent = [(c, s) for c, s in settled if s.state is State.SENT and s.in_doubt == c.in_doubt]
    others = [
        (c, s) for c, s in settled if not (s.state is State.SENT and s.in_doubt == c.in_doubt)
    ]
    passed: set[int] = set()
    for first in range(0, len(sent), SLOTS):
        passed |= await _settle_sent(connection, sent[first : first + SLOTS], now)
    if others:
        passed |= await _settle_others(connection, others, now)
    contents = {claim.content_id for claim, settlement in settled if settlement.state.is_done}
    contents.discard(None)
    if contents:
        await connection.execute(DROP_CONTENTS, {"ids": list(contents)})
    return passed


async def _settle_sent(
    connection: AsyncConnection, sent: Sequence[Settled], now: datetime
) -> set[int]:
    values = in_slots([claim for claim, _ in sent], now) | {"done": now}
    for n in range(SLOTS):
        settlement = sent[n][1] if n < len(sent) else None
        values[f"code{n}"] = settlement and settlement.code
        values[f"text{n}"] = settlement and _short(settlement.text)
    return {row[0] for row in await SENT.run(connection, values)}


async def _settle_others(
    connection: AsyncConnection, others: Sequence[Settled], now: datetime
) -> set[int]:
    held = await claims.held(connection, [claim for claim, _ in others], now=now)
    ours = [(claim, settlement) for claim, settlement in others if claim.id in held]
    if ours:
        decided = await keys.take_back(connection, ours)
        rows = [
            _values(claim, settlement, now) | {"key": key} for claim, settlement, key in decided
        ]
        await connection.execute(SETTLE, rows)
    return held


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
