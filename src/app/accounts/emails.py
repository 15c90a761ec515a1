"""The mails of accounts, one class each: parameters, lifetime, limits, subject and content.

Links are created, and addresses looked up, when the mail is rendered.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from quart import Quart, current_app
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from app import mailer, outbox
from app.accounts import queries, tokens
from app.accounts.names import canonical
from app.mailer import Email, render, site_url
from app.outbox import MailRequest, Postponed, Priority, Rendered
from app.quart_mail import Message

Limits = Sequence[tuple[timedelta, int]]

CHANGE_EMAIL_SECONDS = 3600
"""How long the link that confirms a new address is valid, counted from the request."""

CONFIRM_REGISTRATION_SECONDS = 24 * 3600
"""How long the link that confirms a registration is valid."""

RESET_LIMITS = ((timedelta(minutes=1), 1), (timedelta(hours=1), 5), (timedelta(days=1), 10))
"""Reset mails to one address: at most this many in each period (OWASP Forgot Password Cheat Sheet)."""

NEW_LOGIN_LIMITS = ((timedelta(hours=1), 1), (timedelta(days=1), 5))
"""Notices of new logins to one address: at most this many in each period."""

ADDRESS_LIMITS = ((timedelta(hours=1), 5), (timedelta(days=1), 10))
"""Mails of one kind to an address that somebody entered: at most this many in each period."""

NEW_USER_LIMITS = ((timedelta(minutes=10), 1),)
"""Mails to FLASKY_ADMIN about new users."""

NAMES_IN_DIGEST = 50


class Nobody(NamedTuple):
    """The account for which a reset is rendered that is not sent."""

    id: int = 0
    username: str = "nobody"
    email: str = "nobody@example.com"
    credentials_version: int = 0


NOBODY = Nobody()


def init_app(app: Quart) -> None:
    """Register these mails with the outbox of `app`."""
    mailer.register(
        app,
        ResetPassword,
        PasswordChanged,
        NewLogin,
        ConfirmRegistration,
        ChangeEmail,
        EmailChangeAsked,
        EmailChanged,
        AccountDeleted,
        NewUser,
    )


@dataclass(frozen=True, slots=True)
class ResetPassword(Email):
    """The link that lets the owner of `address` choose a new password.

    The account is looked up when the mail is rendered, so that a request takes as long for every address.
    That happens after a random delay and takes the same work for an address without an account, so that the
    next request does not tell either.
    The link is valid for RESET_TOKEN_SECONDS from the request, however long the mail waited.
    """

    kind = "reset_password"
    priority = Priority.RESET
    secret = True
    link_seconds = "RESET_TOKEN_SECONDS"
    address: str

    @classmethod
    def delay(cls, config: Mapping[str, Any]) -> float:
        """Return OUTBOX_RESET_DELAY."""
        return float(config["OUTBOX_RESET_DELAY"])

    def unique_key(self) -> str:
        """Allow one waiting mail per address, ignoring case."""
        return f"reset_password:{canonical(self.address)}"

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail to the address stored for the account; a decoy if there is none."""
        account = await queries.find_by_address(self.address)
        user = account or NOBODY
        about = _mailbox(user.email) if account else f"unknown:{_mailbox(self.address)}"
        if not await outbox.within_rate_limit(request, about, RESET_LIMITS):
            return None
        seconds = current_app.config["RESET_TOKEN_SECONDS"]
        token = tokens.mint(
            tokens.RESET,
            user.id,
            user.credentials_version,
            expires_in=seconds,
            requested_at=request.created_at,
        )
        message = await render(
            user.email,
            "Reset Your Password",
            "email/reset_password",
            username=user.username,
            link=site_url(f"/reset_password/{token}"),
            minutes=round(seconds / 60),
        )
        return Rendered(message, about=about, is_decoy=account is None)


@dataclass(frozen=True, slots=True)
class PasswordChanged(Email):
    """The notice that the password of the account was changed.

    `device`: the browser and system, such as "Firefox on Linux"; "" if unknown.
    """

    kind = "password_changed"
    user_id: int
    device: str = ""

    async def render(self, request: MailRequest) -> Message | None:
        """Render the notice to the account's address."""
        return await _render_notice(
            request, self.user_id, "Your password was changed", "email/password_changed", device=self.device
        )


@dataclass(frozen=True, slots=True)
class NewLogin(Email):
    """The notice of a login from a browser that the account has not used before, and of `more` after it.

    `device`: the browser and system, such as "Firefox on Linux". `at`: the time in ISO 8601. The notice waits
    until NEW_LOGIN_LIMITS allow it, and logins meanwhile are counted in it. An address that nobody has
    confirmed gets none, unless a reset link was requested for it in the last OUTBOX_KEEP: somebody may have
    registered with the address of somebody else.
    """

    kind = "new_login"
    priority = Priority.ACCOUNT
    is_digest = True
    user_id: int
    device: str
    at: str
    more: int = 0

    def unique_key(self) -> str:
        """Allow one waiting notice per account."""
        return f"{self.kind}:{self.user_id}"

    def merge(self, newer: Self) -> Self:
        """Count the logins of `newer`."""
        return replace(self, more=self.more + 1 + newer.more)

    async def render(self, request: MailRequest) -> Rendered | Postponed | None:
        """Render the notice to the account's address."""
        account = await queries.find(self.user_id)
        if account is None:
            return None
        about = _mailbox(account.email)
        if not account.email_confirmed and not await outbox.was_handed_over(ResetPassword.kind, about):
            return None
        if until := await outbox.allowed_at(request, about, NEW_LOGIN_LIMITS):
            return Postponed(until)
        message = await render(
            account.email,
            "New login to your account",
            "email/new_login",
            username=account.username,
            device=self.device,
            at=datetime.fromisoformat(self.at),
            more=self.more,
            sessions=site_url("/sessions"),
            reset=site_url("/reset_password_request"),
        )
        return Rendered(message, about=about)


@dataclass(frozen=True, slots=True)
class ConfirmRegistration(Email):
    """The link that confirms a registration, or the news that its address already has an account.

    `again`: the link was sent before, and is limited like a reset link.
    """

    kind = "confirm_registration"
    priority = Priority.ACCOUNT
    secret = True
    link_seconds = CONFIRM_REGISTRATION_SECONDS
    registration_id: int
    again: bool = False

    def unique_key(self) -> str:
        """Allow one waiting mail per registration."""
        return f"{self.kind}:{self.registration_id}"

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail to the address of the registration."""
        registration = await queries.find_registration(self.registration_id)
        if registration is None:
            return None
        limits = RESET_LIMITS if self.again else ADDRESS_LIMITS
        if owners := await queries.find_owners(registration.email):
            return await _address_taken(request, owners, limits)
        token = tokens.mint(
            tokens.CONFIRM_REGISTRATION,
            self.registration_id,
            expires_in=CONFIRM_REGISTRATION_SECONDS,
            requested_at=request.created_at,
        )
        return await _render_within_limits(
            request,
            registration.email,
            "Confirm your address",
            "email/confirm_registration",
            limits=limits,
            username=registration.username,
            link=site_url(f"/confirm/{token}"),
        )


@dataclass(frozen=True, slots=True)
class ChangeEmail(Email):
    """The link that confirms a new `address`; if another account has it, a notice to that account instead.

    `version`: the account's credentials_version at the request. Any change since then cancels it.
    """

    kind = "change_email"
    priority = Priority.ACCOUNT
    secret = True
    link_seconds = CHANGE_EMAIL_SECONDS
    user_id: int
    version: int
    address: str

    def unique_key(self) -> str:
        """Allow one waiting mail per account."""
        return f"change_email:{self.user_id}"

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail to the new address."""
        account = await queries.find(self.user_id)
        if account is None or account.credentials_version != self.version:
            return None
        owners = await queries.find_owners(self.address)
        if any(owner.id != account.id for owner in owners):
            return await _address_taken(request, owners)
        token = tokens.mint(
            tokens.CHANGE_EMAIL,
            account.id,
            account.credentials_version,
            expires_in=CHANGE_EMAIL_SECONDS,
            requested_at=request.created_at,
            address=self.address,
        )
        return await _render_within_limits(
            request,
            self.address,
            "Confirm your new address",
            "email/change_email",
            username=account.username,
            link=site_url(f"/change_email/{token}"),
        )


@dataclass(frozen=True, slots=True)
class EmailChangeAsked(Email):
    """The notice to the account's present address that a change to `address` was requested."""

    kind = "email_change_asked"
    priority = Priority.ACCOUNT
    user_id: int
    address: str
    device: str = ""

    async def render(self, request: MailRequest) -> Message | None:
        """Render the notice to the account's address."""
        return await _render_notice(
            request,
            self.user_id,
            "Email address change requested",
            "email/email_change_asked",
            address=self.address,
            device=self.device,
        )


@dataclass(frozen=True, slots=True)
class EmailChanged(Email):
    """The notice to `address`, the account's old one, which can no longer reset the password."""

    kind = "email_changed"
    priority = Priority.ACCOUNT
    user_id: int
    address: str
    device: str = ""

    async def render(self, request: MailRequest) -> Message | None:
        """Render the notice to the old address."""
        return await _render_notice(
            request,
            self.user_id,
            "Your email address was changed",
            "email/email_changed",
            to=self.address,
            device=self.device,
            contact=", ".join(current_app.config["ADMINS"]),
        )


@dataclass(frozen=True, slots=True)
class AccountDeleted(Email):
    """The last mail to `address`, whose account was deleted. Nothing of it is kept, even if it fails."""

    kind = "account_deleted"
    priority = Priority.ACCOUNT
    transient = True
    username: str
    address: str

    async def render(self, request: MailRequest) -> Message:
        """Render the mail to the address of the former account."""
        return await render(
            self.address, "Your account was deleted", "email/account_deleted", username=self.username
        )


@dataclass(frozen=True, slots=True)
class NewUser(Email):
    """The mail that tells FLASKY_ADMIN who has joined: the first at once, later ones together.

    `user_ids`: new accounts. Their names are looked up when the mail is rendered, so that the row contains
    none. `names`: new names on the greeting page. At most NAMES_IN_DIGEST of both are kept; `count` counts
    all. `username`: the only name in a row written by version 0.1.0.
    """

    kind = "new_user"
    is_digest = True
    username: str = ""
    user_ids: Sequence[int] = ()
    names: Sequence[str] = ()
    count: int = 1

    def unique_key(self) -> str:
        """Allow one waiting digest."""
        return self.kind

    def merge(self, newer: Self) -> Self:
        """Add the people of `newer`, without their names beyond NAMES_IN_DIGEST."""
        count = self.count + newer.count
        if len(self.user_ids) + len(self.names) >= NAMES_IN_DIGEST:
            return replace(self, count=count)
        user_ids = (*self.user_ids, *newer.user_ids)
        return replace(self, user_ids=user_ids, names=(*self.names, *newer.names), count=count)

    async def render(self, request: MailRequest) -> Rendered | Postponed | None:
        """Render the mail to FLASKY_ADMIN, if set and if those who have joined still have accounts."""
        admin = current_app.config["FLASKY_ADMIN"]
        first = [self.username] if self.username else []
        names = [*first, *await queries.usernames(self.user_ids), *self.names]
        if not admin or not names:
            return None
        if until := await outbox.allowed_at(request, self.kind, NEW_USER_LIMITS):
            return Postponed(until)
        subject = "New User" if self.count == 1 else "New Users"
        template, more = "email/new_user", self.count - len(names)
        message = await render(
            admin, subject, template, username=names[0], names=names, count=self.count, more=more
        )
        return Rendered(message, about=self.kind)


async def announce(session: AsyncSession, new: NewUser) -> None:
    """Post `new` if FLASKY_ADMIN is set."""
    if current_app.config["FLASKY_ADMIN"]:
        await new.post(session)


async def _address_taken(
    request: MailRequest, owners: Sequence[Row[int, str, str]], limits: Limits = ADDRESS_LIMITS
) -> Rendered | None:
    """Render the mail that tells an address's owner that somebody tried to use it for another account."""
    return await _render_within_limits(
        request,
        owners[0].email,
        "You already have an account",
        "email/address_taken",
        limits=limits,
        username=owners[0].username,
        login=site_url("/login"),
        reset=site_url("/reset_password_request"),
    )


async def _render_notice(
    request: MailRequest, user_id: int, subject: str, template: str, *, to: str = "", **context: Any
) -> Message | None:
    """Render a notice to the account's address, or to `to`; None when the account is gone."""
    account = await queries.find(user_id)
    if account is None:
        return None
    facts = {"at": request.created_at, "reset": site_url("/reset_password_request")}
    facts |= {"username": account.username} | context
    return await render(to or account.email, subject, template, **facts)


async def _render_within_limits(
    request: MailRequest,
    to: str,
    subject: str,
    template: str,
    *,
    limits: Limits = ADDRESS_LIMITS,
    **context: Any,
) -> Rendered | None:
    """Render a mail that anybody can cause, unless the address has reached the limit for its kind."""
    about = _mailbox(to)
    if not await outbox.within_rate_limit(request, about, limits):
        return None
    return Rendered(await render(to, subject, template, **context), about=about)


def _mailbox(address: str) -> str:
    """Return the key by which mails to `address` are counted. It outlives the account, anonymously."""
    key = current_app.config["SECRET_KEY"].encode()
    return f"address:{hmac.digest(key, canonical(address).encode(), 'sha256').hex()}"
