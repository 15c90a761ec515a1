"""What accounts can do: come into being, and be proved."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import emails, passwords, queries
from app.accounts.models import User
from app.accounts.proof import NotProved, Proved
from app.database import writing


class Taken(ValueError):
    """A name or address that somebody has; `fields` says which: "username", "email" or both."""

    def __init__(self, fields: frozenset[str]) -> None:
        super().__init__(f"taken: {', '.join(sorted(fields))}")
        self.fields = fields


async def register(*, username: str, email: str, password: str) -> int:
    """Store a new account and the mail that tells the administrator, and return its id.

    Raises Taken when the name or address is somebody's, also at the same instant, and passwords.Busy.
    What is taken costs no hash; among those at the same instant the insert decides.
    """
    if taken := await queries.taken(username, email):
        raise Taken(taken)
    user = User(username=username, email=email, password_hash=await passwords.generate(password))
    try:
        async with writing() as session:
            await add(session, user)
    except IntegrityError as error:
        raise Taken(await queries.taken(username, email)) from error
    return user.id


async def add(session: AsyncSession, user: User) -> None:
    """Store a new account, with its id, and the mail that tells the administrator.

    Raises IntegrityError when the name or address is somebody's.
    """
    session.add(user)
    await session.flush()
    await emails.announce_new_user(session, user.username)


async def authenticate(username: str, password: str) -> Proved:
    """Return the account with this name and password, or raise NotProved, in the same time.

    A hash made by an older method is brought up to today's. Raises passwords.Busy too.
    """
    account = await queries.find_hash_by_name(username)
    stored = account.password_hash if account else None
    if not await passwords.matches(stored, password) or account is None:
        raise NotProved(account.id if account else None)
    if not passwords.is_current(stored):
        await _bring_up(account.id, stored, await passwords.generate(password))
    return Proved(account.id, account.credentials_version)


async def _bring_up(user_id: int, old: str | None, new: str) -> None:
    """Replace the hash `old` by `new`, unless the password has changed meanwhile."""
    async with writing() as session:
        await session.execute(
            update(User)
            .where(User.id == user_id, User.password_hash == old)
            .values(password_hash=new)
        )
