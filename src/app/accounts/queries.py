"""Looking up accounts, and registrations that wait to become one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, or_, select

from app.accounts.models import Registration, User, exact_first
from app.database import reading

Ts = TypeVarTuple("Ts")

KNOWN = select(User.id, User.username, User.email, User.credentials_version)
SECRET = select(User.id, User.password_hash, User.credentials_version)


async def find(user_id: int) -> Row[int, str, str, int] | None:
    """Return id, username, stored address and credentials version of the account, or None."""
    return await _first(KNOWN, User.id == user_id)


async def find_by_address(address: str) -> Row[int, str, str, int] | None:
    """Return the same of the account that has `address`: as written before as folded."""
    return await _first(KNOWN, User.addressed(address), exact_first(User.email, address))


async def find_hash(user_id: int) -> Row[int, str | None, int] | None:
    """Return id, hash of the password and credentials version of the account, or None."""
    return await _first(SECRET, User.id == user_id)


async def find_hash_by_name(username: str) -> Row[int, str | None, int] | None:
    """Return the same of the account called `username`: as written before as folded."""
    return await _first(SECRET, User.named(username), exact_first(User.username, username))


async def owners_of(address: str) -> Sequence[Row[int, str, str]]:
    """Return id, username and stored address of whoever has `address`, whatever its case."""
    async with reading() as connection:
        found = await connection.execute(
            select(User.id, User.username, User.email)
            .where(User.addressed(address))
            .order_by(User.id)
        )
        return found.all()


async def is_named(username: str) -> bool:
    """Return whether somebody is called `username`, whatever the case."""
    return await _first(select(User.id), User.named(username)) is not None


async def taken(username: str, email: str) -> frozenset[str]:
    """Return which of the two, "username" and "email", are somebody's."""
    same_name, same_address = User.named(username), User.addressed(email)
    async with reading() as connection:
        rows = await connection.execute(
            select(same_name.label("username"), same_address.label("email")).where(
                or_(same_name, same_address)
            )
        )
        return frozenset(
            field for row in rows for field in ("username", "email") if getattr(row, field)
        )


async def find_registration(registration_id: int) -> Row[str, str] | None:
    """Return username and address of a registration that waits, or None."""
    waiting = select(Registration.username, Registration.email).where(
        Registration.expires_at > datetime.now(UTC)
    )
    return await _first(waiting, Registration.id == registration_id)


async def _first(
    rows: Select[*Ts], condition: ColumnElement[bool], *order: ColumnElement[int]
) -> Row[*Ts] | None:
    async with reading() as connection:
        found = await connection.execute(rows.where(condition).order_by(*order).limit(1))
        return found.first()
