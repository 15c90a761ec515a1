"""Look up accounts, and registrations that wait for confirmation."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVarTuple

from sqlalchemy import ColumnElement, Row, Select, String, bindparam, func, or_, select

from app.accounts.models import Registration, User, exact_first
from app.accounts.names import canonical
from app.database import reading

Ts = TypeVarTuple("Ts")

Account = Row[int, str, str, str | None, int, bool, str | None, str | None]
"""id, username, email, password_hash, credentials_version, email_confirmed, language, timezone"""

ACCOUNT = select(
    *(User.id, User.username, User.email, User.password_hash, User.credentials_version),
    *(User.email_confirmed, User.language, User.timezone),
)
_ADDRESS = bindparam("address", type_=String)
BY_ADDRESS = (
    ACCOUNT.where(User.addressed(_ADDRESS, bindparam("canonical", type_=String)))
    .order_by(exact_first(User.email, _ADDRESS))
    .limit(1)
)


async def find(user_id: int) -> Account | None:
    """Return the account with this id, or None."""
    return await _first(ACCOUNT, User.id == user_id)


async def find_by_name(username: str) -> Account | None:
    """Return the account called `username`; an exact match is preferred to one in canonical form."""
    is_named = User.named(username, canonical(username))
    return await _first(ACCOUNT, is_named, exact_first(User.username, username))


async def find_by_address(address: str) -> Account | None:
    """Return the account with `address`; an exact match is preferred to one in canonical form."""
    async with reading() as connection:
        result = await connection.execute(BY_ADDRESS, {"address": address, "canonical": canonical(address)})
        return result.first()


async def find_owners(address: str) -> Sequence[Account]:
    """Return every account with `address`, whatever its case."""
    async with reading() as connection:
        statement = ACCOUNT.where(User.addressed(address, canonical(address))).order_by(User.id)
        return (await connection.execute(statement)).all()


async def usernames(user_ids: Sequence[int]) -> Sequence[str]:
    """Return the names of those of the accounts that still exist, the oldest first."""
    if not user_ids:
        return []
    async with reading() as connection:
        statement = select(User.username).where(User.id.in_(user_ids)).order_by(User.id)
        return (await connection.execute(statement)).scalars().all()


async def taken_fields(username: str, email: str) -> frozenset[str]:
    """Return which of "username" and "email" belong to an account."""
    same_name = User.named(username, canonical(username))
    same_address = User.addressed(email, canonical(email))
    statement = select(same_name.label("username"), same_address.label("email"))
    async with reading() as connection:
        rows = await connection.execute(statement.where(or_(same_name, same_address)))
        return frozenset(field for row in rows for field in ("username", "email") if getattr(row, field))


async def find_registration(registration_id: int) -> Row[int, str, str, str] | None:
    """Return id, username, email and password_hash of a registration that has not expired, or None."""
    return await _first(_waiting(), Registration.id == registration_id)


async def find_registration_by_name(username: str) -> Row[int, str, str, str] | None:
    """Return the same columns of the latest registration as `username`."""
    is_named = func.lower(Registration.username) == canonical(username)
    return await _first(_waiting(), is_named, Registration.id.desc())


async def find_registration_by_address(address: str) -> Row[int, str, str, str] | None:
    """Return the same columns of the latest registration with `address`."""
    has_address = Registration.email_canonical == canonical(address)
    return await _first(_waiting(), has_address, Registration.id.desc())


def _waiting() -> Select[int, str, str, str]:
    columns = (Registration.id, Registration.username, Registration.email, Registration.password_hash)
    return select(*columns).where(Registration.expires_at > datetime.now(UTC))


async def _first(
    statement: Select[*Ts], condition: ColumnElement[bool], *order: ColumnElement[int]
) -> Row[*Ts] | None:
    async with reading() as connection:
        result = await connection.execute(statement.where(condition).order_by(*order).limit(1))
        return result.first()
