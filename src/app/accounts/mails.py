"""Asking for the mails of accounts, as part of a transaction: one function for each.

Parameters are those that the renderer of the same name, in `app.email` or `app.notices`, reads.
"""

from __future__ import annotations

from datetime import datetime

from quart import current_app
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


async def announce(session: AsyncSession, username: str) -> None:
    """Ask for `new_user` where there is an administrator to tell: FLASKY_ADMIN."""
    if current_app.config["FLASKY_ADMIN"]:
        await new_user(session, username)


async def confirm_registration(session: AsyncSession, registration_id: int) -> outbox.Handle:
    """Ask for the link that finishes a registration."""
    return await outbox.post(session, "confirm_registration", registration_id=registration_id)


async def new_login(
    session: AsyncSession, user_id: int, *, device: str, at: datetime
) -> outbox.Handle:
    """Ask for the notice of a login `at` some time from `device`, in plain words."""
    time = at.isoformat(timespec="minutes")
    return await outbox.post(session, "new_login", user_id=user_id, device=device, at=time)


async def change_email(
    session: AsyncSession, user_id: int, version: int, *, address: str
) -> outbox.Handle:
    """Ask for the link by which the new `address` confirms itself; one of an account waits at a time."""
    key = f"change_email:{user_id}"
    return await outbox.post(
        session, "change_email", unique=key, user_id=user_id, version=version, address=address
    )


async def email_change_asked(session: AsyncSession, user_id: int, *, address: str) -> outbox.Handle:
    """Ask for the notice to the account's address that the new `address` was asked to confirm itself."""
    return await outbox.post(session, "email_change_asked", user_id=user_id, address=address)


async def email_changed(session: AsyncSession, user_id: int, *, address: str) -> outbox.Handle:
    """Ask for the notice to `address`, which was the account's until now."""
    return await outbox.post(session, "email_changed", user_id=user_id, address=address)


async def account_deleted(session: AsyncSession, username: str, *, address: str) -> outbox.Handle:
    """Ask for the last mail to `address`, whose owner has left."""
    return await outbox.post(session, "account_deleted", username=username, address=address)


async def your_data(session: AsyncSession, user_id: int) -> outbox.Handle:
    """Ask for the mail that holds what is stored about the account; one waits at a time."""
    return await outbox.post(session, "your_data", unique=f"data:{user_id}", user_id=user_id)
