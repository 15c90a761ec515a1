"""What somebody has proved by a password, and whether it still holds when it is used."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts.models import User


class NotProved(ValueError):
    """A name and password that are no account's; `user_id`: whose name it is, None if nobody's."""

    def __init__(self, user_id: int | None) -> None:
        super().__init__(f"not proved to be account {user_id}")
        self.user_id = user_id


class Outdated(NotProved):
    """The password or address was changed, or the account deleted, since the password was checked."""


@dataclass(frozen=True, slots=True)
class Proved:
    """An account, and the version of its credentials that were proved."""

    user_id: int
    version: int


async def hold(session: AsyncSession, proved: Proved) -> None:
    """Keep the account as it was proved until the transaction of `session` ends; raises Outdated.

    Hashing takes long enough for a reset to be completed meanwhile: it ends every session, and none may
    begin after it by the old password.
    """
    statement = (
        select(User.id)
        .where(User.id == proved.user_id, User.credentials_version == proved.version)
        .with_for_update()
    )
    if await session.scalar(statement) is None:
        raise Outdated(proved.user_id)
