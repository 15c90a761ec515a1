"""Withdrawing: what waits for a person who has left is not sent, and nothing about them is kept."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.outbox.models import NEEDED, Content, Delivery, State
from app.outbox.state import Outbox

BEGUN = (State.SENDING, State.SENT)
WHOSE: dict[str, None] = dict.fromkeys(("recipient", "last_text"))
"""What tells whose a mail was: servers quote the address that they refuse."""

NOTHING = WHOSE | dict.fromkeys(
    ("params", "content_id", "unique_key", "claim_id", "due_at", "expires_at")
)


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
    ids = await session.scalars(
        update(Delivery)
        .where(theirs, Delivery.state.not_in(BEGUN))
        .values(state=State.SKIPPED, done_at=outbox.clock(), **NOTHING)
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    outbox.tell_done(ids)
    await _forget_recipients(session, addresses)
    await session.execute(
        delete(Content).where(~NEEDED).execution_options(synchronize_session=False)
    )


async def _forget_recipients(session: AsyncSession, addresses: Collection[str]) -> None:
    """Forget where ready-made mails went; asked last, so that what has begun meanwhile is found too.

    `about` stays, "user:7" or a digest: without it, an address whose owner leaves and comes back could get
    more mails than their spacing allows.
    """
    await session.execute(
        update(Delivery)
        .where(Delivery.recipient.in_(addresses), Delivery.state.in_(BEGUN))
        .values(WHOSE)
        .execution_options(synchronize_session=False)
    )
