"""What accounts can do: come into being, be proved, and get what is stored about them."""

from __future__ import annotations

from quart import current_app
from sqlalchemy import Row, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.accounts import mails, passwords
from app.accounts.models import User, exact_first
from app.accounts.proof import NotProved, Proved
from app.database import reading, writing


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
    if taken := await _taken(username, email):
        raise Taken(taken)
    user = User(username=username, email=email, password_hash=await passwords.generate(password))
    try:
        async with writing() as session:
            session.add(user)
            await session.flush()
            if current_app.config["FLASKY_ADMIN"]:
                await mails.new_user(session, username)
    except IntegrityError as error:
        raise Taken(await _taken(username, email)) from error
    return user.id


async def authenticate(username: str, password: str) -> Proved:
    """Return the account with this name and password, or raise NotProved, in the same time.

    A hash made by an older method is brought up to today's. Raises passwords.Busy too.
    """
    account = await _find_by_name(username)
    stored = account.password_hash if account else None
    if not await passwords.matches(stored, password) or account is None:
        raise NotProved(account.id if account else None)
    if not passwords.is_current(stored):
        await _bring_up(account.id, stored, await passwords.generate(password))
    return Proved(account.id, account.credentials_version)


async def request_data(user_id: int) -> None:
    """Store a request for the mail that holds what is stored about the account; one waits at a time."""
    async with writing() as session:
        await mails.your_data(session, user_id)


async def _taken(username: str, email: str) -> frozenset[str]:
    """Return which of the two are somebody's."""
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


async def _find_by_name(username: str) -> Row[int, str | None, int] | None:
    """Return id, hash and credentials version of the account called `username`, as written or folded."""
    async with reading() as connection:
        found = await connection.execute(
            select(User.id, User.password_hash, User.credentials_version)
            .where(User.named(username))
            .order_by(exact_first(User.username, username))
            .limit(1)
        )
        return found.first()


async def _bring_up(user_id: int, old: str | None, new: str) -> None:
    """Replace the hash `old` by `new`, unless the password has changed meanwhile."""
    async with writing() as session:
        await session.execute(
            update(User)
            .where(User.id == user_id, User.password_hash == old)
            .values(password_hash=new)
        )
