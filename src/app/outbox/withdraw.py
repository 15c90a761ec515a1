"""Withdrawing: what waits for a person who has left is not sent, and nothing about them is kept."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.outbox.models import NEEDED, Content, Delivery, State
from app.outbox.state import Outbox


async def withdraw(
    outbox: Outbox, session: AsyncSession, user_id: int, addresses: Collection[str]
) -> None:
    """Skip what is not being sent and names the account or one of `addresses`; see `app.outbox.withdraw`.

    A courier that has claimed such a row finds its claim lost, and begins no DATA.
    """
    theirs = or_(
        Delivery.params["user_id"].as_integer() == user_id,
        Delivery.params["address"].as_string().in_(addresses),
        Delivery.recipient.in_(addresses),
    )
    nothing = dict.fromkeys(
        ("params", "content_id", "recipient", "unique_key", "claim_id", "due_at", "expires_at")
    )
    ids = await session.scalars(
        update(Delivery)
        .where(theirs, Delivery.state.not_in((State.SENDING, State.SENT)))
        .values(state=State.SKIPPED, done_at=outbox.clock(), **nothing)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    outbox.tell_done(ids)
    await session.execute(
        delete(Content).where(~NEEDED).execution_options(synchronize_session=False)
    )
