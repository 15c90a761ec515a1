"""Login sessions: rows that the server can delete, found by the SHA-256 of a random token."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quart import current_app
from sqlalchemy import Row, String, bindparam, delete, or_, select, update

from app.accounts import devices
from app.accounts.models import LoginSession, User
from app.database import DatabaseUnavailable, Query, UtcDateTime, fetch, reading, writing

MAX_LISTED = 200
TOUCH_SECONDS = 60
"""How old "last seen" may be before a page view updates it."""

TOUCHES_PER_LIFE = 4
"""How many times a session in use is updated within its idle time, at least."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person who sent a request, or NOBODY (`is_authenticated` is False)."""

    id: int = 0
    username: str = ""
    email: str = ""
    session_id: int = 0
    created_at: datetime | None = None
    seen_at: datetime | None = None
    remember: bool = False
    language: str | None = None
    timezone: str | None = None
    is_known: bool = True
    """False on pages that were made without reading the login session."""

    @property
    def is_authenticated(self) -> bool:
        """Whether the person is logged in."""
        return self.session_id != 0


NOBODY = Visitor()
UNKNOWN = Visitor(is_known=False)

BY_TOKEN = Query(
    select(
        User.id,
        User.username,
        User.email,
        LoginSession.id.label("session_id"),
        LoginSession.created_at,
        LoginSession.seen_at,
        LoginSession.remember,
        User.language,
        User.timezone,
    )
    .join(User, User.id == LoginSession.user_id)
    .where(
        LoginSession.token_digest == bindparam("digest", type_=String),
        LoginSession.expires_at > bindparam("now", type_=UtcDateTime),
    )
)


async def start(user_id: int, *, remember: bool, user_agent: str) -> str:
    """Store a new session of the account and return its token; its expired sessions are deleted."""
    now = datetime.now(UTC)
    token = devices.make_token()
    row = LoginSession(
        token_digest=devices.digest(token),
        user_id=user_id,
        created_at=now,
        seen_at=now,
        expires_at=_expiry(now, now, remember=remember),
        remember=remember,
        user_agent=user_agent,
    )
    async with writing() as session:
        session.add(row)
        await session.execute(update(User).where(User.id == user_id).values(last_seen=now))
        await session.execute(
            delete(LoginSession).where(LoginSession.user_id == user_id, LoginSession.expires_at <= now)
        )
    return token


async def find(token: str) -> Visitor:
    """Return the owner of the session with `token`, or NOBODY if it has ended, by one statement."""
    rows = await fetch(BY_TOKEN, digest=devices.digest(token), now=datetime.now(UTC))
    return Visitor(*rows[0]) if rows else NOBODY


def is_stale(visitor: Visitor) -> bool:
    """Return whether "last seen" of `visitor` should be updated."""
    if visitor.seen_at is None:
        return False
    longest = _idle_time(remember=visitor.remember) / TOUCHES_PER_LIFE
    return datetime.now(UTC) - visitor.seen_at > min(longest, timedelta(seconds=TOUCH_SECONDS))


async def touch(visitor: Visitor) -> None:
    """Store that `visitor` was here now, in the session's row and in the account's `last_seen`.

    A database that is too busy costs one debug line: the next visit tries again.
    """
    assert visitor.created_at is not None  # noqa: S101 -- is_stale checks it
    now = datetime.now(UTC)
    expires_at = _expiry(visitor.created_at, now, remember=visitor.remember)
    is_same = (LoginSession.id == visitor.session_id, LoginSession.seen_at == visitor.seen_at)
    before = now - timedelta(seconds=TOUCH_SECONDS)
    is_old = or_(User.last_seen.is_(None), User.last_seen <= before)
    try:
        async with writing() as session:
            if await session.scalar(
                update(LoginSession)
                .where(*is_same)  # False if another request of this session was first
                .values(seen_at=now, expires_at=expires_at)
                .returning(LoginSession.id)
            ):
                await session.execute(update(User).where(User.id == visitor.id, is_old).values(last_seen=now))
    except DatabaseUnavailable as error:
        log.debug("last_seen of account %d was not updated: %s", visitor.id, error)


async def list_for(user_id: int, *, current: int) -> Sequence[Row[int, datetime, datetime, str]]:
    """Return id, created_at, seen_at and user_agent of the account's sessions.

    The one with the id `current` is first, then the others, last seen first.
    """
    is_current = LoginSession.id == current
    async with reading() as connection:
        result = await connection.execute(
            select(LoginSession.id, LoginSession.created_at, LoginSession.seen_at, LoginSession.user_agent)
            .where(LoginSession.user_id == user_id, LoginSession.expires_at > datetime.now(UTC))
            .order_by(is_current.desc(), LoginSession.seen_at.desc(), LoginSession.id.desc())
            .limit(MAX_LISTED)
        )
        return result.all()


async def end_one(user_id: int, session_id: int) -> None:
    """End one session of the account."""
    is_ended = (LoginSession.user_id == user_id, LoginSession.id == session_id)
    async with writing() as session:
        await session.execute(delete(LoginSession).where(*is_ended))


async def end_all(user_id: int, *, keep_session: int = 0, keep_device: str | None = None) -> None:
    """Log the account out everywhere, and forget the browsers it has logged in from.

    `keep_session` and `keep_device`: the id of a session and the token of a browser to which this does not
    apply.
    """
    async with writing() as session:
        conditions = (LoginSession.user_id == user_id, LoginSession.id != keep_session)
        await session.execute(delete(LoginSession).where(*conditions))
        await devices.forget(session, user_id, keep=keep_device)


def _idle_time(*, remember: bool) -> timedelta:
    """Return how long an unused session lasts."""
    setting = "REMEMBER_SECONDS" if remember else "SESSION_IDLE_SECONDS"
    return timedelta(seconds=current_app.config[setting])


def _expiry(created_at: datetime, now: datetime, *, remember: bool) -> datetime:
    """Return when a session used `now` expires: after its idle time, at its maximum age unless remembered."""
    idle = now + _idle_time(remember=remember)
    if remember:
        return idle
    return min(idle, created_at + timedelta(seconds=current_app.config["SESSION_SECONDS"]))
