"""Registering while CONFIRM_EMAIL is on: there is no account before its address is confirmed.

A free and a taken address are treated alike: nobody is looked up by address before the mail is made, which
then brings either a link or the news that there is an account already. Names are not secret: a taken one
is refused at once, but does not show which address waits for it, since waiting reserves no name.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from quart import current_app
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from app.accounts import mails, passwords, queries, tokens
from app.accounts.models import Registration, User
from app.accounts.service import Taken
from app.database import writing

CONFIRM_SECONDS = 24 * 3600
"""How long a registration waits for its link to be followed."""


async def request(*, username: str, email: str, password: str) -> None:
    """Let a registration wait until its address is confirmed; registrations that are over go.

    Raises Taken for a name that somebody has, and passwords.Busy.
    """
    if await queries.is_named(username):
        raise Taken(frozenset({"username"}))
    password_hash = await passwords.generate(password)
    now = datetime.now(UTC)
    waiting = Registration(
        username=username,
        email=email,
        password_hash=password_hash,
        expires_at=now + timedelta(seconds=CONFIRM_SECONDS),
    )
    async with writing() as session:
        await session.execute(delete(Registration).where(Registration.expires_at <= now))
        session.add(waiting)
        await session.flush()
        await mails.confirm_registration(session, waiting.id)


async def check(token: str) -> str:
    """Return the name of the account that `token` may make; raises tokens.InvalidToken."""
    claim = tokens.read(tokens.CONFIRM_REGISTRATION, token)
    waiting = await queries.find_registration(claim.subject)
    if waiting is None:
        raise tokens.InvalidToken("the registration was confirmed already, or is over")
    username: str = waiting.username
    return username


async def confirm(token: str) -> int:
    """Make the account of the registration that `token` names, tell the administrator, and return its id.

    Raises tokens.InvalidToken, and Taken when somebody has got the name or the address meanwhile.
    """
    registration_id = tokens.read(tokens.CONFIRM_REGISTRATION, token).subject
    try:
        async with writing() as session:
            waiting = (
                await session.execute(
                    delete(Registration)
                    .where(
                        Registration.id == registration_id,
                        Registration.expires_at > datetime.now(UTC),
                    )
                    .returning(
                        Registration.username, Registration.email, Registration.password_hash
                    )
                )
            ).first()
            if waiting is None:
                raise tokens.InvalidToken("the registration was confirmed already, or is over")
            user = User(**waiting._mapping)
            session.add(user)
            await session.flush()
            if current_app.config["FLASKY_ADMIN"]:
                await mails.new_user(session, waiting.username)
    except IntegrityError as error:
        raise Taken(frozenset({"username", "email"})) from error
    return user.id
