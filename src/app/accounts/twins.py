"""Accounts of old databases whose names, or addresses, differ only by case.

The oldest of them has the folded form, its twins have none. When that form becomes free the next one gets it:
otherwise a newcomer could register what is somebody's name but for its case.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from app.accounts.models import User
from app.accounts.names import canonical


async def inherit_name(session: AsyncSession, folded: str | None) -> None:
    """Give the folded name that somebody had until now (None: had none) to their oldest twin."""
    await _inherit(session, User.username, User.username_canonical, folded)


async def inherit_address(session: AsyncSession, folded: str | None) -> None:
    """Give the folded address that somebody had until now (None: had none) to their oldest twin."""
    await _inherit(session, User.email, User.email_canonical, folded)


async def _inherit(
    session: AsyncSession,
    own: InstrumentedAttribute[str],
    form: InstrumentedAttribute[str | None],
    folded: str | None,
) -> None:
    if folded is None:
        return
    without = await session.execute(select(User.id, own).where(form.is_(None)).order_by(User.id))
    for twin_id, text in without.all():
        still = (User.id == twin_id, own == text, form.is_(None))
        if canonical(text) == folded and await session.scalar(
            update(User).where(*still).values({form: folded}).returning(User.id)
        ):
            return
