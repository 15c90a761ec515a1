"""The tables of accounts: users, followers, login sessions, known browsers, and waiting registrations.

The names and columns of `user` and `followers` are those of Microblog. Added columns are nullable or have a
default, so that rows written by Microblog itself stay valid.
"""

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    ForeignKey,
    Integer,
    String,
    Table,
    UniqueConstraint,
    case,
    event,
    false,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column

from app.accounts import passwords, tokens
from app.accounts.names import avatar_url, canonical
from app.database import Base, UtcDateTime, reading

USERNAME_LENGTH = 64
EMAIL_LENGTH = 120
ABOUT_ME_LENGTH = 140
CANONICAL_LENGTH = 255
LANGUAGE_LENGTH = 16
TIMEZONE_LENGTH = 64
USER_AGENT_LENGTH = 255
MAX_INITIAL_VERSION = 2**30

Text = str | BindParameter[str]
"""Text to compare with: the text itself, or its parameter in a `Query`."""

followers = Table(
    "followers",
    Base.metadata,
    Column("follower_id", Integer, ForeignKey("user.id"), primary_key=True),
    Column("followed_id", Integer, ForeignKey("user.id"), primary_key=True, index=True),
)


def _random_version() -> int:
    return secrets.randbelow(MAX_INITIAL_VERSION)


class User(Base):
    """A person with an account.

    `credentials_version` rises with every change of password or address, which ends reset links and sessions
    made for an older one. It starts at a random number, because ids were reused on SQLite before revision
    a3f52c8d9e17. `email_confirmed`: a link that was mailed to the address was followed. `language` and
    `timezone` are those the person chose, None for automatic.
    """

    __tablename__ = "user"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(USERNAME_LENGTH), index=True, unique=True)
    email: Mapped[str] = mapped_column(String(EMAIL_LENGTH), index=True, unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(256))
    about_me: Mapped[str | None] = mapped_column(String(ABOUT_ME_LENGTH))
    last_seen: Mapped[datetime | None] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))
    username_canonical: Mapped[str | None] = mapped_column(String(CANONICAL_LENGTH), index=True, unique=True)
    email_canonical: Mapped[str | None] = mapped_column(String(CANONICAL_LENGTH), index=True, unique=True)
    credentials_version: Mapped[int] = mapped_column(default=_random_version, server_default="0")
    email_confirmed: Mapped[bool] = mapped_column(default=False, server_default=false())
    last_message_read_time: Mapped[datetime | None] = mapped_column(UtcDateTime)
    language: Mapped[str | None] = mapped_column(String(LANGUAGE_LENGTH))
    timezone: Mapped[str | None] = mapped_column(String(TIMEZONE_LENGTH))

    def __repr__(self) -> str:
        return f"<User {self.username}>"

    @classmethod
    def named(cls, name: Text, canonical_name: Text) -> ColumnElement[bool]:
        """Return the condition that an account is called `name`, or by a name with this canonical form."""
        return or_(cls.username == name, cls.username_canonical == canonical_name)

    @classmethod
    def addressed(cls, address: Text, canonical_address: Text) -> ColumnElement[bool]:
        """Return the condition that an account has `address`, or one with this canonical form."""
        return or_(cls.email == address, cls.email_canonical == canonical_address)

    async def set_password(self, password: str) -> None:
        """Set the password of this object, and end links and sessions made for the old one.

        Raises passwords.Busy when the queue for hashing is full.
        """
        self.password_hash = await passwords.generate(password)
        if self.credentials_version is None:  # a new object
            self.credentials_version = _random_version()
        self.credentials_version += 1

    async def check_password(self, password: str) -> bool:
        """Return whether `password` is this account's; raises passwords.Busy."""
        return await passwords.matches(self.password_hash, password)

    def get_reset_password_token(self, expires_in: float = 600) -> str:
        """Return a token for setting a new password once, within `expires_in` seconds."""
        return tokens.mint(tokens.RESET, self.id, self.credentials_version, expires_in=expires_in)

    @staticmethod
    async def verify_reset_password_token(token: str) -> "User | None":
        """Return the account whose password `token` can reset, or None if it is not valid."""
        try:
            claim = tokens.read(tokens.RESET, token)
        except tokens.InvalidToken:
            return None
        async with reading() as connection, AsyncSession(connection) as session:
            user: User | None = await session.scalar(
                select(User).where(User.id == claim.subject, User.credentials_version == claim.version)
            )
            return user

    def avatar(self, size: int) -> str:
        """Return the address of this account's picture, `size` pixels square."""
        return avatar_url(self.id, self.username, self.email, size)


class LoginSession(Base):
    """A browser that is logged in; only the SHA-256 of its token is stored."""

    __tablename__ = "login_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_digest: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    remember: Mapped[bool] = mapped_column(default=False)
    user_agent: Mapped[str] = mapped_column(String(USER_AGENT_LENGTH), default="")


class KnownDevice(Base):
    """A browser that an account has logged in from: the SHA-256 of its random cookie, and its last login."""

    __tablename__ = "known_device"
    __table_args__ = (UniqueConstraint("user_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(String(64))
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    user_agent: Mapped[str] = mapped_column(String(USER_AGENT_LENGTH), default="", server_default=text("''"))


class Registration(Base):
    """A registration that becomes an account when its address is confirmed (CONFIRM_EMAIL).

    Ids are never reused, so that a link is for one registration only. `email_canonical` is None in rows of a
    version that did not have it; they end within a day.
    """

    __tablename__ = "registration"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(USERNAME_LENGTH))
    email: Mapped[str] = mapped_column(String(EMAIL_LENGTH))
    email_canonical: Mapped[str | None] = mapped_column(String(CANONICAL_LENGTH))
    password_hash: Mapped[str] = mapped_column(String(256))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def exact_first(column: InstrumentedAttribute[str], text: Text) -> ColumnElement[int]:
    """Return an ORDER BY term that puts the account with exactly `text` in `column` first.

    In old databases names or addresses may differ only by case; each is reached by its exact form.
    """
    return case((column == text, 0), else_=1)


@event.listens_for(User.username, "set")
def _set_canonical_username(user: User, value: str, old: Any, initiator: object) -> None:
    user.username_canonical = canonical(value)


@event.listens_for(User.email, "set", active_history=True)
def _set_canonical_email(user: User, value: str, old: Any, initiator: object) -> None:
    user.email_canonical = canonical(value)
    if isinstance(old, str) and old != value and user.credentials_version is not None:
        user.credentials_version += 1  # ends links that were mailed to the old address
        user.email_confirmed = False


@event.listens_for(Registration.email, "set")
def _set_canonical_address(registration: Registration, value: str, old: Any, initiator: object) -> None:
    registration.email_canonical = canonical(value)
