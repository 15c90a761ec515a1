"""Looking accounts up for the mails to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select

from app.accounts.models import User, exact_first
from app.database import reading


async def find(user_id: int) -> Row[int, str, str, int] | None:
    """Return id, username, stored address and credentials version of the account, or None."""
    return await _first(User.id == user_id)


async def find_by_address(address: str) -> Row[int, str, str, int] | None:
    """Return the same of the account that has `address`: as written before as folded."""
    return await _first(User.addressed(address), exact_first(User.email, address))


async def _first(condition: Any, *order: Any) -> Row[int, str, str, int] | None:
    async with reading() as connection:
        found = await connection.execute(
            select(User.id, User.username, User.email, User.credentials_version)
            .where(condition)
            .order_by(*order)
            .limit(1)
        )
        return found.first()
