"""How many mails about somebody went out lately: what a renderer decides by that it is too many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from app.database import reading
from app.outbox.models import Delivery

Spacing = Sequence[tuple[timedelta, int]]
"""Periods, and how many mails at most go out in each."""

_rendering: ContextVar[int | None] = ContextVar("outbox_rendering", default=None)


@contextmanager
def rendering(id_: int) -> Iterator[None]:
    """Mark that row `id_` is being rendered: it is not counted."""
    token = _rendering.set(id_)
    try:
        yield
    finally:
        _rendering.reset(token)


async def count_since(kind: str, about: str, since: datetime) -> int:
    """Return how many mails of `kind` about `about` were or may have been handed over since `since`.

    The mail being rendered does not count. Two couriers that render two mails about the same one at the same
    time may both count none: then the second is stopped before DATA, and its renderer is asked again.
    """
    statement = select(func.count()).where(
        Delivery.about == about, Delivery.kind == kind, Delivery.handed_at >= since
    )
    own = _rendering.get()
    if own is not None:
        statement = statement.where(Delivery.id != own)
    async with reading() as connection:
        return (await connection.execute(statement)).scalar_one()


async def is_spaced(kind: str, about: str, spacing: Spacing) -> bool:
    """Return whether one more mail of `kind` about `about` keeps to `spacing` (see `count_since`)."""
    now = datetime.now(UTC)
    for period, most in spacing:
        if await count_since(kind, about, now - period) >= most:
            return False
    return True
