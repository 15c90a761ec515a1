"""Deleting an account with everything that is the person's: in every table that names the account."""

from __future__ import annotations

from sqlalchemy import Column, delete, select

from app import outbox
from app.accounts import emails, twins
from app.accounts.credentials import WrongPassword, prove
from app.accounts.models import User
from app.database import Base, writing


async def delete_account(user_id: int, *, current: str) -> None:
    """Delete the account, its posts, follows, sessions and waiting mails, and confirm that by mail.

    Raises WrongPassword, passwords.Busy.
    """
    version = await prove(user_id, current)
    async with writing() as session:
        own = (User.id == user_id, User.credentials_version == version)
        account = await session.scalar(select(User).where(*own).with_for_update())
        if account is None:
            raise WrongPassword("the account was changed at the same time")
        for column in naming_accounts():
            await session.execute(delete(column.table).where(column == user_id))
        addresses = {account.email, account.email_canonical or account.email}
        await outbox.withdraw(session, user_id=user_id, addresses=addresses)
        await session.execute(delete(User).where(User.id == user_id))
        await twins.inherit_name(session, account.username_canonical)
        await twins.inherit_address(session, account.email_canonical)
        await emails.AccountDeleted(account.username, account.email).post(session)


def naming_accounts() -> list[Column[int]]:
    """Return every column that refers to an account; adopted databases do not cascade by themselves."""
    return [
        column
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if any(key.column.table is User.__table__ for key in column.foreign_keys)
    ]
