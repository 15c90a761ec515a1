"""Posting: a mail becomes a row in the transaction of the change it reports."""

import asyncio
import random
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Text, and_, case, cast, event, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.database import insert_into
from app.outbox import messages
from app.outbox.models import DONE_STATES, Content, Delivery, Priority, State, table
from app.outbox.state import READY_MADE_KIND, Merge, Outbox, outbox_of
from app.quart_mail import Message

_HANDLE = (Delivery.id, Delivery.message_id)
LEAST_DELAY_SECONDS = 0.3
"""The shortest delay of a kind that has one."""

_RANDOM = random.SystemRandom()  # not predictable
_WORST_FIRST = (State.FAILED, State.EXPIRED, State.SKIPPED, State.SENT)


class NotPosted(LookupError):
    """The mail is not in the outbox: its transaction is open or was rolled back, or it was purged."""


@dataclass(frozen=True, eq=False, slots=True)
class Handle:
    """A posted mail: the Message-IDs of its deliveries by their ids.

    `await handle` waits until all deliveries are done, whichever process makes them, and returns the state:
    sent, or the worst one of several recipients. Raises NotPosted.
    """

    outbox: Outbox
    message_ids: dict[int, str]

    @property
    def ids(self) -> list[int]:
        """The ids of the deliveries."""
        return list(self.message_ids)

    def __await__(self) -> Generator[Any, None, State]:
        return self.wait().__await__()

    async def wait(self) -> State:
        """Return the final state, checking when this process settles a delivery and at every poll."""
        with self.outbox.waiting_for(self.message_ids) as done:
            while True:
                done.clear()
                states = await self.states()
                if all(state in DONE_STATES for state in states.values()):
                    return min(states.values(), key=_WORST_FIRST.index)
                try:
                    async with asyncio.timeout(self.outbox.poll):
                        await done.wait()
                except TimeoutError:
                    continue

    async def states(self) -> dict[int, State]:
        """Return the committed state of each delivery by its id, including copies for further recipients."""
        columns = select(table.c.id, table.c.message_id, table.c.state, table.c.kind, table.c.recipient)
        posted = columns.where(table.c.id.in_(self.message_ids))
        copies = columns.where(
            table.c.id > min(self.message_ids),  # a range of the primary key
            table.c.message_id.in_(self.message_ids.values()),
        )
        async with self.outbox.database.reading() as connection:
            rows = list(await connection.execute(posted))
            if any(row.recipient is not None and row.kind != READY_MADE_KIND for row in rows):
                rows += await connection.execute(copies)
        message_ids = set(self.message_ids.values())
        states = {row.id: State(row.state) for row in rows if row.message_id in message_ids}
        if len(states) < len(self.message_ids):
            raise NotPosted("Await the handle after the block that posts the mail has committed.")
        return states


async def post(session: AsyncSession, kind: str, *, unique: str | None = None, **params: Any) -> Handle:
    """Add a mail of `kind` with JSON `params` to the transaction of `session`, by one INSERT.

    If a mail with the same `unique` key is still waiting, it is updated instead. It gets the new parameters
    and times or, if its kind has a `merge` function, the merged parameters, and keeps its time. Raises
    LookupError for a kind that is not registered.
    """
    outbox = outbox_of()
    if (registered := outbox.kinds.get(kind)) is None:
        raise LookupError(f"No mail of the kind {kind!r} is registered; see outbox.register.")
    row = _new_row(outbox, registered.expiry, registered.delay) | {
        "kind": kind,
        "params": params,
        "unique_key": unique,
        "message_id": Message().msgId,
        "priority": registered.priority,
    }
    statement = insert_into(session, Delivery).values(row)
    if registered.merge is not None:
        posted = await _insert_or_merge(session, statement, row, registered.merge)
    else:
        if unique is not None:
            statement = statement.on_conflict_do_update(
                index_elements=[Delivery.unique_key], set_=_renewed(statement.excluded)
            )
        posted = (await session.execute(statement.returning(*_HANDLE))).one()
    wake_after_commit(outbox, session)
    return Handle(outbox, {posted.id: posted.message_id})


async def post_message(session: AsyncSession, message: Message) -> Handle:
    """Add a ready-made message to the transaction of `session`: its content once, a delivery per recipient.

    All copies carry the same headers and Message-ID. Raises MessageError.
    """
    outbox = outbox_of()
    recipients, packed = messages.recipients(message), messages.pack(message)
    content = insert(Content).values(message=packed, created_at=outbox.clock())
    row = _new_row(outbox) | {
        "kind": READY_MADE_KIND,
        "content_id": (await session.execute(content.returning(Content.id))).scalar_one(),
        "message_id": message.msgId,
        "priority": Priority.NORMAL,
    }
    rows = [row | {"recipient": recipient} for recipient in recipients]
    ids = await session.execute(insert(Delivery).values(rows).returning(Delivery.id))
    wake_after_commit(outbox, session)
    return Handle(outbox, dict.fromkeys(ids.scalars(), message.msgId))


async def _insert_or_merge(
    session: AsyncSession, statement: Any, row: dict[str, Any], merge: Merge
) -> Row[int, str]:
    """Insert `row`, or merge it into the waiting mail with its unique key; return id and Message-ID.

    A courier that has claimed that mail loses the claim. If it has just moved the mail to `sending`, the key
    is free, and the next INSERT succeeds.
    """
    statement = statement.on_conflict_do_nothing(index_elements=[Delivery.unique_key])
    columns = select(table.c.id, table.c.params, table.c.claim_id, table.c.due_at)
    waiting = columns.where(table.c.unique_key == row["unique_key"]).with_for_update()
    while (posted := (await session.execute(statement.returning(*_HANDLE))).first()) is None:
        if (mail := (await session.execute(waiting)).first()) is None:
            continue
        is_readable = isinstance(mail.params, dict)
        merged = update(table).values(
            params=merge(mail.params, row["params"]) if is_readable else row["params"],
            due_at=mail.due_at if mail.claim_id is None else row["due_at"],
            expires_at=row["expires_at"],
            claim_id=None,
        )
        posted = (await session.execute(merged.where(table.c.id == mail.id).returning(*_HANDLE))).one()
        break
    return posted


def _renewed(new: Any) -> dict[str, Any]:
    """Return the new values of a waiting mail that is posted again; it never becomes due later than before.

    A courier that has claimed it loses the claim if the parameters have changed.
    """
    stays_claimed = and_(
        Delivery.claim_id.is_not(None), cast(Delivery.params, Text) == cast(new.params, Text)
    )
    is_due_first = and_(Delivery.claim_id.is_(None), Delivery.due_at < new.due_at)
    return {name: new[name] for name in ("params", "created_at", "expires_at")} | {
        "due_at": case((or_(stays_claimed, is_due_first), Delivery.due_at), else_=new.due_at),
        "claim_id": case((stays_claimed, Delivery.claim_id), else_=None),
    }


def _new_row(outbox: Outbox, expiry: float | None = None, delay: float = 0.0) -> dict[str, Any]:
    now: datetime = outbox.clock()
    wait = _RANDOM.uniform(min(LEAST_DELAY_SECONDS, delay), delay)
    seconds = outbox.default_expiry if expiry is None else expiry
    return {
        "state": State.QUEUED,
        "attempts": 0,
        "in_doubt": False,
        "created_at": now,
        "due_at": now + timedelta(seconds=wait),
        "expires_at": now + timedelta(seconds=seconds),
    }


def wake_after_commit(outbox: Outbox, session: AsyncSession) -> None:
    """Wake the courier of this process when the transaction commits; not if it is rolled back."""
    if "outbox" in session.info:
        return
    session.info["outbox"] = outbox

    @event.listens_for(session.sync_session, "after_commit")
    def wake(committed: Session) -> None:
        if not committed.in_nested_transaction():
            outbox.wake()
