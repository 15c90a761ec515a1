"""Posting: a mail becomes a row in the transaction of what it reports."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, and_, case, cast, event, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.database import insert_into
from app.outbox import content
from app.outbox.handle import Handle
from app.outbox.kinds import READY_MADE
from app.outbox.models import Content, Delivery, Priority, State
from app.outbox.state import Outbox
from app.quart_mail import Message


async def post(
    outbox: Outbox, session: AsyncSession, kind: str, unique: str | None, params: dict[str, Any]
) -> Handle:
    """Store a mail of `kind` by one INSERT; see `app.outbox.post`."""
    registered = outbox.kind(kind)
    now = outbox.clock()
    row = _row(now, outbox.expiry(registered.expiry)) | {
        "kind": kind,
        "params": params,
        "unique_key": unique,
        "message_id": Message().msgId,
        "priority": registered.priority,
    }
    statement = insert_into(session, Delivery).values(row)
    if unique is not None:
        statement = statement.on_conflict_do_update(
            index_elements=[Delivery.unique_key], set_=_asked_anew(statement.excluded)
        )
    found = await session.execute(statement.returning(Delivery.id, Delivery.message_id))
    wake_after_commit(outbox, session)
    posted = found.one()
    return Handle(outbox, [(posted.id, posted.message_id)])


async def post_message(
    outbox: Outbox,
    session: AsyncSession,
    message: Message,
    *,
    priority: Priority,
    expiry: float | None,
) -> Handle:
    """Store a ready-made message: see `app.outbox.post_message`."""
    recipients, packed = content.recipients(message), content.pack(message)
    now = outbox.clock()
    stored = insert(Content).values(message=packed, created_at=now).returning(Content.id)
    row = _row(now, outbox.expiry(expiry)) | {
        "kind": READY_MADE,
        "content_id": (await session.execute(stored)).scalar_one(),
        "message_id": message.msgId,
        "priority": priority,
    }
    rows = [row | {"recipient": recipient} for recipient in recipients]
    ids = await session.execute(insert(Delivery).values(rows).returning(Delivery.id))
    wake_after_commit(outbox, session)
    return Handle(outbox, [(id_, message.msgId) for id_ in ids.scalars()])


def _asked_anew(asked: Any) -> dict[str, Any]:
    """Return what becomes of a mail that still waits; who has claimed it with other parameters loses it."""
    is_held = and_(
        Delivery.claim_id.is_not(None), cast(Delivery.params, Text) == cast(asked.params, Text)
    )
    return {name: asked[name] for name in ("params", "created_at", "expires_at")} | {
        "due_at": case((is_held, Delivery.due_at), else_=asked.due_at),
        "claim_id": case((is_held, Delivery.claim_id), else_=None),
    }


def _row(now: datetime, expiry: float) -> dict[str, Any]:
    return {
        "state": State.QUEUED,
        "attempts": 0,
        "in_doubt": False,
        "created_at": now,
        "due_at": now,
        "expires_at": now + timedelta(seconds=expiry),
    }


def wake_after_commit(outbox: Outbox, session: AsyncSession) -> None:
    """Wake this process's courier once the rows can be seen; never, if they are rolled back."""
    if "outbox" in session.info:
        return
    session.info["outbox"] = outbox

    @event.listens_for(session.sync_session, "after_commit")
    def wake(committed: Session) -> None:
        if not committed.in_nested_transaction():
            outbox.wake()
