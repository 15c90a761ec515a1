"""Settling: what the rules decided about claims is written, for many rows by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, case, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import UtcDateTime
from app.outbox.claim import Claim, table
from app.outbox.models import LONGEST_TEXT, Content, State
from app.outbox.rules import Settlement

Settled = tuple[Claim, Settlement]

_time = UtcDateTime()
_is_done = bindparam("done", type_=_time).is_not(None)
_handed_over = case(
    (bindparam("hand") == "now", func.coalesce(table.c.handed_at, bindparam("now_", type_=_time))),
    (bindparam("hand") == "keep", table.c.handed_at),
    else_=None,
)
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
        unique_key=case((bindparam("is_done"), None), else_=table.c.unique_key),
        params=case((bindparam("forget"), None), else_=table.c.params),
        content_id=case((bindparam("forget"), None), else_=table.c.content_id),
        handed_at=_handed_over,
    )
)
_needed = exists(select(table.c.id).where(table.c.content_id == Content.id))
DROP_CONTENTS = delete(cast(Table, Content.__table__)).where(
    Content.id.in_(bindparam("ids", expanding=True)), ~_needed
)


async def settle(connection: AsyncConnection, settled: Sequence[Settled], *, now: datetime) -> None:
    """Write what became of each claim, all of which are held; forget what nobody needs any more."""
    rows = [_values(claim, settlement, now) for claim, settlement in settled]
    await connection.execute(SETTLE, rows)
    contents = {claim.content_id for claim, settlement in settled if settlement.state.is_done}
    contents.discard(None)
    if contents:
        await connection.execute(DROP_CONTENTS, {"ids": sorted(map(int, filter(None, contents)))})


def _values(claim: Claim, settlement: Settlement, now: datetime) -> dict[str, Any]:
    is_done = settlement.wait is None
    return {
        "id_": claim.id,
        "state_": settlement.state.value,
        "attempts_": settlement.attempts,
        "in_doubt_": settlement.in_doubt,
        "code": settlement.code,
        "text_": settlement.text and settlement.text[:LONGEST_TEXT],
        "about_": claim.about if claim.is_fenced else None,
        "due": None if settlement.wait is None else now + timedelta(seconds=settlement.wait),
        "done": now if is_done else None,
        "is_done": is_done,
        "forget": settlement.state in (State.SENT, State.SKIPPED),
        "hand": _hand(settlement),
        "now_": now,
    }


def _hand(settlement: Settlement) -> str:
    """Say what `handed_at` becomes: what the server refused was not handed over."""
    if settlement.state is State.SENT:
        return "now"
    return "keep" if settlement.in_doubt else "clear"
