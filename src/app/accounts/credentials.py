"""Changing what gets people in: their password, and the address that resets it.

`device`: the browser that asks, such as "Firefox on Linux", for the notice to the owner; "" if unknown.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import emails, passwords, queries, sessions, tokens, twins
from app.accounts.models import User
from app.accounts.names import canonical
from app.accounts.proof import Proved
from app.database import writing

CHANGED = "the token was used, or the account has changed"


class WrongPassword(ValueError):
    """The password given again is not the account's, or the account has changed meanwhile."""


async def prove(user_id: int, password: str) -> int:
    """Return the version of the account's credentials; raises WrongPassword, passwords.Busy."""
    account = await queries.find_hash(user_id)
    stored = account.password_hash if account else None
    if not await passwords.matches(stored, password) or account is None:
        raise WrongPassword("not the account's password")
    version: int = account.credentials_version
    return version


async def change_password(user_id: int, *, current: str, new: str, device: str = "") -> Proved:
    """Give the account the password `new`, end its sessions, tell its owner, and return what now holds.

    Raises WrongPassword, passwords.Busy.
    """
    version = await prove(user_id, current)
    password_hash = await passwords.generate(new)
    async with writing() as session:
        if not await _replace_password(session, user_id, version, password_hash, device):
            raise WrongPassword("the account was changed at the same time")
    return Proved(user_id, version + 1)


async def request_reset(address: str) -> None:
    """Store a request for a reset mail; nobody is looked up before the mail is made."""
    async with writing() as session:
        await emails.ResetPassword(address).post(session)


async def check_reset(token: str) -> User:
    """Return the account whose password `token` may still reset, which does not use it up.

    Raises tokens.InvalidToken.
    """
    user = await User.verify_reset_password_token(token)
    if user is None:
        raise tokens.InvalidToken("the token was used, has expired or is none of ours")
    return user


async def reset_password(token: str, password: str, *, device: str = "") -> int:
    """Give the account that `token` names its new password, end its sessions, and return its id.

    Of many at once with one token the first to write wins. Raises tokens.InvalidToken for the others
    and for a token that was used, has expired or is none of ours; passwords.Busy.
    """
    claim = tokens.read(tokens.RESET, token)
    password_hash = await passwords.generate(password)
    async with writing() as session:
        if not await _replace_password(
            session, claim.subject, claim.version, password_hash, device
        ):
            raise tokens.InvalidToken(CHANGED)
    return claim.subject


async def request_email_change(
    user_id: int, address: str, *, current: str, device: str = ""
) -> None:
    """Ask the new `address` to confirm itself, and tell the old one; nothing changes before.

    Whether somebody has `address` is not looked up before the mail is made. Raises WrongPassword,
    passwords.Busy.
    """
    version = await prove(user_id, current)
    async with writing() as session:
        await emails.ChangeEmail(user_id, version, address).post(session)
        await emails.EmailChangeAsked(user_id, address, device).post(session)


async def check_email_change(token: str) -> str:
    """Return the address that `token` may still give its account; raises tokens.InvalidToken."""
    claim = _read(token)
    account = await queries.find_hash(claim.subject)
    if account is None or account.credentials_version != claim.version:
        raise tokens.InvalidToken(CHANGED)
    return claim.address


async def change_email(token: str, *, spared: int, device: str = "") -> int:
    """Give the account of `token` its new address, tell the old one, and return the account's id.

    Every session of it ends but the one with the id `spared`. Raises tokens.InvalidToken, also when
    somebody else has got the address meanwhile.
    """
    claim = _read(token)
    try:
        async with writing() as session:
            old = await _replace_address(session, claim)
            await sessions.end_others(claim.subject, spared=spared)
            await emails.EmailChanged(claim.subject, old, device).post(session)
    except IntegrityError as error:
        raise tokens.InvalidToken("somebody else has this address") from error
    return claim.subject


def _read(token: str) -> tokens.Claim:
    claim = tokens.read(tokens.CHANGE_EMAIL, token)
    if not claim.address:
        raise tokens.InvalidToken("the token names no address")
    return claim


async def _replace_password(
    session: AsyncSession, user_id: int, version: int, password_hash: str, device: str
) -> bool:
    """Give the account a new password, end its sessions and tell its owner.

    Returns False, and does nothing, when its credentials are not of `version` any more.
    """
    changed = await session.scalar(
        update(User)
        .where(User.id == user_id, User.credentials_version == version)
        .values(password_hash=password_hash, credentials_version=version + 1)
        .returning(User.id)
    )
    if changed is None:
        return False
    await sessions.end_all(user_id)
    await emails.PasswordChanged(user_id, device).post(session)
    return True


async def _replace_address(session: AsyncSession, claim: tokens.Claim) -> str:
    """Store the address of `claim` and return the one before; raises tokens.InvalidToken.

    Who has the old one but for its case is now the one it is folded for.
    """
    own = (User.id == claim.subject, User.credentials_version == claim.version)
    asked = select(User.email, User.email_canonical).where(*own).with_for_update()
    before = (await session.execute(asked)).first()
    if before is None:
        raise tokens.InvalidToken(CHANGED)
    folded, version = canonical(claim.address), claim.version + 1
    changes = {"email": claim.address, "email_canonical": folded, "credentials_version": version}
    await session.execute(update(User).where(*own).values(changes))
    if before.email_canonical != folded:
        await twins.inherit_address(session, before.email_canonical)
    return str(before.email)
