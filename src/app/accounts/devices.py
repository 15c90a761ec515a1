"""The browsers that an account has logged in from, recognized by a cookie with a random token.

A login from a new browser is reported to the owner by mail, and a known browser can log in while others
guess passwords (OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). Neither addresses nor
locations are stored: a browser that loses its cookies counts as new.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import Row, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import emails
from app.accounts.browsers import describe
from app.accounts.models import KnownDevice, User
from app.accounts.names import canonical
from app.database import reading

MAX_DEVICES = 30
"""Browsers kept per account: the most recently used."""

LIFETIME = timedelta(days=400)
"""The longest lifetime that browsers accept for a cookie."""

FORGOTTEN = datetime.fromtimestamp(0, UTC)
TOKEN_LENGTH = 43


def make_token() -> str:
    """Return a random token for a cookie."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Return whether `text` has the form of a token from `make_token`."""
    return len(text) == TOKEN_LENGTH and text.isascii()


def digest(token: str) -> str:
    """Return the SHA-256 of `token`, which is stored in its place."""
    return sha256(token.encode()).hexdigest()


async def is_known(token: str, username: str) -> bool:
    """Return whether the account called `username` has logged in from the browser of `token` before."""
    statement = (
        select(KnownDevice.id)
        .join(User, User.id == KnownDevice.user_id)
        .where(
            KnownDevice.digest == digest(token),
            KnownDevice.seen_at > datetime.now(UTC) - LIFETIME,
            User.named(username, canonical(username)),
        )
    )
    async with reading() as connection:
        return (await connection.execute(statement)).first() is not None


async def list_for(user_id: int, *, current: str | None) -> Sequence[Row[datetime, str, bool]]:
    """Return seen_at, user_agent and is_current of the account's browsers, the latest login first.

    `current`: the token of this browser.
    """
    is_current = (KnownDevice.digest == digest(current or "")).label("is_current")
    async with reading() as connection:
        result = await connection.execute(
            select(KnownDevice.seen_at, KnownDevice.user_agent, is_current)
            .where(KnownDevice.user_id == user_id, KnownDevice.seen_at > datetime.now(UTC) - LIFETIME)
            .order_by(KnownDevice.seen_at.desc(), KnownDevice.id.desc())
        )
        return result.all()


async def record_login(session: AsyncSession, user_id: int, token: str, user_agent: str) -> None:
    """Store that the account has logged in from the browser of `token`, and report a new one to its owner.

    The first browser of an account is not reported.
    """
    now = datetime.now(UTC)
    is_own = KnownDevice.user_id == user_id
    if await session.scalar(
        update(KnownDevice)
        .where(is_own, KnownDevice.digest == digest(token), KnownDevice.seen_at > now - LIFETIME)
        .values(seen_at=now, user_agent=user_agent)
        .returning(KnownDevice.id)
    ):
        return
    has_others = await session.scalar(select(exists().where(is_own)))
    latest = select(KnownDevice.id).where(is_own).order_by(KnownDevice.seen_at.desc(), KnownDevice.id.desc())
    is_kept = KnownDevice.id.in_(latest.limit(MAX_DEVICES - 1)) & (KnownDevice.seen_at > now - LIFETIME)
    await session.execute(delete(KnownDevice).where(is_own, ~is_kept))
    session.add(KnownDevice(user_id=user_id, digest=digest(token), seen_at=now, user_agent=user_agent))
    if has_others:
        name = describe(user_agent)
        await emails.NewLogin(user_id, name, now.isoformat(timespec="minutes")).post(session)


async def forget(session: AsyncSession, user_id: int, *, keep: str | None) -> None:
    """Forget the account's browsers, except the one with the token `keep`.

    Their rows stay until the next login, so that it is not taken for the first one, but reported.
    """
    is_other = (KnownDevice.user_id == user_id, KnownDevice.digest != digest(keep or ""))
    await session.execute(update(KnownDevice).where(*is_other).values(seen_at=FORGOTTEN, user_agent=""))
