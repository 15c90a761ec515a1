"""Queries for operators, couriers and renderers; none returns a body, a token or secret parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Dialect, Row, func, select, type_coerce
from sqlalchemy.types import TypeDecorator

from app.database import Database, StoredTime, UtcDateTime
from app.outbox.models import Priority, State, contents, table
from app.outbox.state import MailRequest, Outbox, outbox_of

RateLimits = Sequence[tuple[timedelta, int]]
"""Periods, and the maximum number of mails in each."""


class NextTimes(NamedTuple):
    """When the first and the last waiting row are due, and when the first expires (aware UTC or None)."""

    due_at: datetime | None
    last_due_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Rows by state, and ages in seconds.

    `oldest_due`: how long the first mail that could be claimed has been due. `oldest_waiting`: the time since
    the oldest waiting mail was posted, whatever it is waiting for.
    """

    states: dict[str, int]
    oldest_due: float | None
    oldest_waiting: float | None
    in_doubt: int


NEXT_TIMES = select(
    *(
        select(end(table.c.due_at)).where(table.c.priority == priority).scalar_subquery()
        for end in (func.min, func.max)
        for priority in Priority
    ),
    select(func.min(table.c.expires_at)).where(table.c.expires_at.is_not(None)).scalar_subquery(),
)
"""Each column is the first or last entry of an index range, however many rows there are."""


class _ShownTime(TypeDecorator["datetime | str"]):
    """An aware UTC datetime; text that is none, as in a SQLite file edited by hand, as it is stored."""

    impl = StoredTime
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | str | None:
        """Return the time for the stored text, or the text."""
        try:
            return value and datetime.fromisoformat(value).replace(tzinfo=UTC)
        except ValueError:
            return value


_SHOWN = """id kind state priority recipient about message_id attempts in_doubt
created_at due_at expires_at handed_at done_at last_code last_text"""
_LISTED = [
    type_coerce(column, _ShownTime).label(column.name) if isinstance(column.type, UtcDateTime) else column
    for column in (table.c[name] for name in _SHOWN.split())
]


async def next_times(database: Database) -> NextTimes:
    """Return when rows are due or expire next."""
    async with database.reading() as connection:
        *dues, expires_at = (await connection.execute(NEXT_TIMES)).one()
    times = [due for due in dues if due is not None]
    return NextTimes(min(times, default=None), max(times, default=None), expires_at)


async def count_due(database: Database, *, now: datetime, most: int) -> int:
    """Return how many rows are due at `now`, counting at most `most`."""
    due = select(table.c.id).where(table.c.priority.in_([*Priority]), table.c.due_at <= now)
    count = select(func.count()).select_from(due.limit(most).subquery())
    async with database.reading() as connection:
        return await connection.scalar(count) or 0


async def allowed_at(request: MailRequest, about: str, limits: RateLimits) -> datetime | None:
    """Return when the limits allow one more mail of this kind about `about`, such as `user:7`; None: now.

    For renderers. Counts the other mails that were or may have been handed to the mail server. If two of them
    are rendered at the same time, the second is stopped before DATA and rendered again.
    """
    outbox = outbox_of()
    now = outbox.clock()
    times = (
        select(last := func.max(table.c.handed_at))
        .where(
            table.c.about == about,
            table.c.kind == request.kind,
            table.c.message_id != request.message_id,
            table.c.handed_at >= now - max(period for period, _ in limits),
        )
        .group_by(table.c.message_id)  # copies for several recipients are one mail
        .order_by(last.desc())
        .limit(max(most for _, most in limits))
    )
    async with outbox.database.reading() as connection:
        handed = (await connection.execute(times)).scalars().all()
    ends = [handed[most - 1] + period for period, most in limits if len(handed) >= most]
    return max((end for end in ends if end > now), default=None)


async def was_handed_over(kind: str, about: str) -> bool:
    """Return whether a mail of `kind` about `about` was handed to the mail server in the last OUTBOX_KEEP."""
    mails = select(table.c.id).where(table.c.about == about, table.c.kind == kind)
    async with outbox_of().database.reading() as connection:
        result = await connection.execute(mails.where(table.c.handed_at.is_not(None)).limit(1))
        return result.first() is not None


async def stats(outbox: Outbox) -> Overview:
    """Return the counts by state, and for how long mail has been waiting."""
    now = outbox.clock()
    counts = select(table.c.state, func.count()).group_by(table.c.state)
    first_due = select(func.min(table.c.due_at)).where(table.c.claim_id.is_(None))
    first_created = select(func.min(table.c.created_at)).where(
        table.c.priority.in_([*Priority]), table.c.due_at.is_not(None)
    )
    doubts = select(func.count()).where(table.c.in_doubt)
    async with outbox.database.reading() as connection:
        by_state = {row[0]: row[1] for row in await connection.execute(counts)}
        due_at: datetime | None = await connection.scalar(first_due)
        created_at: datetime | None = await connection.scalar(first_created)
        in_doubt = await connection.scalar(doubts) or 0
    late = (now - due_at).total_seconds() if due_at is not None and due_at <= now else None
    age = None if created_at is None else (now - created_at).total_seconds()
    return Overview({state.value: by_state.get(state, 0) for state in State}, late, age, in_doubt)


async def list_(
    database: Database, *, states: Sequence[str] = (), limit: int = 50, oldest: bool = False
) -> Sequence[Row[Any]]:
    """Return the newest (or `oldest`) `limit` deliveries, of some `states` or of all.

    They have the columns of the outbox (see `models.Delivery`) that an operator may see.
    """
    order = table.c.id if oldest else table.c.id.desc()
    statement = select(*_LISTED).order_by(order).limit(limit)
    if states:
        statement = statement.where(table.c.state.in_(states))
    async with database.reading() as connection:
        return (await connection.execute(statement)).all()


async def show(outbox: Outbox, id_: int) -> dict[str, Any] | None:
    """Return the columns of one delivery and its `subject`, or None; secret `params` are None."""
    message = select(contents.c.message).where(contents.c.id == table.c.content_id).scalar_subquery()
    statement = select(*_LISTED, table.c.params, message.label("message")).where(table.c.id == id_)
    async with outbox.database.reading() as connection:
        row = (await connection.execute(statement)).first()
    if row is None:
        return None
    shown = row._asdict()
    packed, kind = shown.pop("message"), outbox.kinds.get(row.kind)
    if kind is None or kind.secret:
        shown["params"] = None
    return shown | {"subject": packed.get("subject") if isinstance(packed, dict) else None}
