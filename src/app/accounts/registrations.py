"""Registering while CONFIRM_EMAIL is on: there is no account before its address is confirmed.

A free and a taken address are treated alike: nobody is looked up by address before the mail is made, which
then brings either a link or the news that there is an account already. Names are not secret: a taken one
is refused at once, but does not show which address waits for it, since waiting reserves no name.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import RowMapping, delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import emails, passwords, queries, service, tokens
from app.accounts.models import Registration, User
from app.database import writing

OVER = "the registration was confirmed already, or is over"


async def request(*, username: str, email: str, password: str) -> None:
    """Let a registration wait until its address is confirmed; registrations that are over go.

    Raises Taken for a name that somebody has, and passwords.Busy.
    """
    if await queries.is_named(username):
        raise service.Taken(frozenset({"username"}))
    password_hash = await passwords.generate(password)
    now = datetime.now(UTC)
    waiting = Registration(
        username=username,
        email=email,
        password_hash=password_hash,
        expires_at=now + timedelta(seconds=emails.CONFIRM_REGISTRATION_SECONDS),
    )
    async with writing() as session:
        await session.execute(delete(Registration).where(Registration.expires_at <= now))
        session.add(waiting)
        await session.flush()
        await emails.ConfirmRegistration(waiting.id).post(session)


async def check(token: str) -> str:
    """Return the name of the account that `token` may make; raises tokens.InvalidToken."""
    claim = tokens.read(tokens.CONFIRM_REGISTRATION, token)
    waiting = await queries.find_registration(claim.subject)
    if waiting is None:
        raise tokens.InvalidToken(OVER)
    username: str = waiting.username
    return username


async def confirm(token: str) -> int:
    """Make the account of the registration that `token` names, tell the administrator, and return its id.

    Raises tokens.InvalidToken, and Taken when somebody has got the name or the address meanwhile.
    """
    registration_id = tokens.read(tokens.CONFIRM_REGISTRATION, token).subject
    try:
        async with writing() as session:
            user = User(**await _take_waiting(session, registration_id))
            await service.add(session, user)
    except IntegrityError as error:
        raise service.Taken(frozenset({"username", "email"})) from error
    return user.id


async def _take_waiting(session: AsyncSession, registration_id: int) -> RowMapping:
    """Delete a registration, and return what its account is made of; raises tokens.InvalidToken."""
    found = await session.execute(
        delete(Registration)
        .where(Registration.id == registration_id, Registration.expires_at > datetime.now(UTC))
        .returning(Registration.username, Registration.email, Registration.password_hash)
    )
    waiting = found.mappings().first()
    if waiting is None:
        raise tokens.InvalidToken(OVER)
    return waiting
