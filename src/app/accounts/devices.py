"""The browsers that an account has logged in from, known by a cookie that says nothing but a random token.

Logging in from another one is told to the owner by mail; a known one keeps getting in while others guess
(OWASP, "Slow Down Online Guessing Attacks with Device Cookies"). Addresses and places are not kept: a browser
that forgets its cookies is a new one.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.accounts import browsers, emails
from app.accounts.models import KnownDevice, User
from app.database import reading

KEPT = 30
"""Browsers kept per account, those seen last."""

FORGOTTEN_AFTER = timedelta(days=400)
"""What browsers cap a cookie's life at."""

TOKEN_LENGTH = 43


def make_token() -> str:
    """Return a token for a browser that has none."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Return whether `text` can be a token of `make_token`."""
    return len(text) == TOKEN_LENGTH and text.isascii()


async def is_known(token: str, username: str) -> bool:
    """Return whether the account called `username` has logged in from the browser of `token` before."""
    statement = (
        select(KnownDevice.id)
        .join(User, User.id == KnownDevice.user_id)
        .where(
            KnownDevice.digest == digest(token),
            KnownDevice.seen_at > datetime.now(UTC) - FORGOTTEN_AFTER,
            User.named(username),
        )
    )
    async with reading() as connection:
        return (await connection.execute(statement)).first() is not None


async def welcome(session: AsyncSession, user_id: int, token: str, user_agent: str) -> None:
    """Note that the account has logged in from the browser of `token`, and tell its owner of a new one.

    The first browser of an account is no news.
    """
    now = datetime.now(UTC)
    own = KnownDevice.user_id == user_id
    known = await session.scalar(
        update(KnownDevice)
        .where(own, KnownDevice.digest == digest(token))
        .values(seen_at=now)
        .returning(KnownDevice.id)
    )
    if known is not None:
        return
    has_others = await session.scalar(select(exists().where(own)))
    session.add(KnownDevice(user_id=user_id, digest=digest(token), seen_at=now))
    await session.flush()
    if has_others:
        await _forget(session, user_id, now - FORGOTTEN_AFTER)
        name = browsers.describe(user_agent)
        await emails.NewLogin(user_id, name, now.isoformat(timespec="minutes")).post(session)


def digest(token: str) -> str:
    """Return what is kept of `token`."""
    return sha256(token.encode()).hexdigest()


async def _forget(session: AsyncSession, user_id: int, before: datetime) -> None:
    """Forget the account's browsers not seen since `before`, and all but the KEPT that were seen last."""
    kept = (
        select(KnownDevice.id)
        .where(KnownDevice.user_id == user_id)
        .order_by(KnownDevice.seen_at.desc(), KnownDevice.id.desc())
        .limit(KEPT)
    )
    await session.execute(
        delete(KnownDevice).where(
            KnownDevice.user_id == user_id,
            or_(KnownDevice.seen_at < before, KnownDevice.id.not_in(kept)),
        )
    )
