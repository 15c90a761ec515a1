"""Asking for the mails of accounts that more than one place asks for, as part of a transaction."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.accounts.canonical import canonical


async def reset_password(session: AsyncSession, address: str) -> outbox.Handle:
    """Ask for the reset link of whoever has `address`, who is looked up when the mail is made.

    A request that still waits is not doubled: its time starts anew.
    """
    key = f"reset_password:{canonical(address)}"
    return await outbox.post(session, "reset_password", unique=key, address=address)


async def password_changed(session: AsyncSession, user_id: int) -> outbox.Handle:
    """Ask for the notice to the account that its password was changed."""
    return await outbox.post(session, "password_changed", user_id=user_id)


async def new_user(session: AsyncSession, username: str) -> outbox.Handle:
    """Ask for the mail that tells the administrator of somebody new."""
    return await outbox.post(session, "new_user", username=username)
