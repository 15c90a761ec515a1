"""Look up accounts, and registrations that wait for confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, String, bindparam, func, or_, select

from app.accounts.models import Registration, User, exact_first
from app.accounts.names import canonical
from app.database import reading

Ts = TypeVarTuple("Ts")

ACCOUNT = select(User.id, User.username, User.email, User.credentials_version, User.email_confirmed)
HASH = select(User.id, User.password_hash, User.credentials_version)
_ADDRESS = bindparam("address", type_=String)
BY_ADDRESS = (
    ACCOUNT.where(User.addressed(_ADDRESS, bindparam("folded", type_=String)))
    .order_by(exact_first(User.email, _ADDRESS))
    .limit(1)
)


async def find(user_id: int) -> Row[int, str, str, int, bool] | None:
    """Return id, username, stored address, credentials version and whether the address was confirmed."""
    return await _first(ACCOUNT, User.id == user_id)


async def find_by_address(address: str) -> Row[int, str, str, int, bool] | None:
    """Return the same columns of the account with `address`; an exact match is preferred to a folded one."""
    async with reading() as connection:
        result = await connection.execute(BY_ADDRESS, {"address": address, "folded": canonical(address)})
        return result.first()


async def find_hash(user_id: int) -> Row[int, str | None, int] | None:
    """Return id, password hash and credentials version of the account, or None."""
    return await _first(HASH, User.id == user_id)


async def find_hash_by_name(username: str) -> Row[int, str | None, int] | None:
    """Return the same columns of the account called `username`; an exact match is preferred."""
    return await _first(HASH, User.named(username), exact_first(User.username, username))


async def find_registration_by_name(username: str) -> Row[int, str] | None:
    """Return id and password hash of the latest registration as `username` that waits for confirmation."""
    statement = select(Registration.id, Registration.password_hash).order_by(Registration.id.desc())
    is_named = func.lower(Registration.username) == canonical(username)
    return await _first(statement, is_named & (Registration.expires_at > datetime.now(UTC)))


async def find_owners(address: str) -> Sequence[Row[int, str, str]]:
    """Return id, username and stored address of every account with `address`, whatever its case."""
    async with reading() as connection:
        result = await connection.execute(
            select(User.id, User.username, User.email).where(User.addressed(address)).order_by(User.id)
        )
        return result.all()


async def usernames(user_ids: Sequence[int]) -> Sequence[str]:
    """Return the names of those of the accounts that still exist, the oldest first."""
    if not user_ids:
        return []
    async with reading() as connection:
        statement = select(User.username).where(User.id.in_(user_ids)).order_by(User.id)
        return (await connection.execute(statement)).scalars().all()


async def is_username_taken(username: str) -> bool:
    """Return whether an account is called `username`, whatever the case."""
    return await _first(select(User.id), User.named(username)) is not None


async def taken_fields(username: str, email: str) -> frozenset[str]:
    """Return which of "username" and "email" belong to an account."""
    same_name, same_address = User.named(username), User.addressed(email)
    async with reading() as connection:
        rows = await connection.execute(
            select(same_name.label("username"), same_address.label("email")).where(
                or_(same_name, same_address)
            )
        )
        return frozenset(field for row in rows for field in ("username", "email") if getattr(row, field))


async def find_registration(registration_id: int) -> Row[str, str] | None:
    """Return username and address of a registration that has not expired, or None."""
    statement = select(Registration.username, Registration.email).where(
        Registration.expires_at > datetime.now(UTC)
    )
    return await _first(statement, Registration.id == registration_id)


async def _first(
    statement: Select[*Ts], condition: ColumnElement[bool], *order: ColumnElement[int]
) -> Row[*Ts] | None:
    async with reading() as connection:
        result = await connection.execute(statement.where(condition).order_by(*order).limit(1))
        return result.first()
