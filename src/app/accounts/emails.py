"""The mails of accounts, one class each: parameters, lifetime, limits, subject and content.

Links are created, and addresses looked up, when the mail is rendered.
"""

import hmac
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from quart import Quart, current_app
from sqlalchemy.ext.asyncio import AsyncSession

from app import mailer, outbox
from app.accounts import queries, tokens
from app.accounts.browsers import localized
from app.accounts.names import canonical
from app.mailer import Email, render, site_url
from app.outbox import MailRequest, Postponed, Priority, RateLimits, Rendered
from app.quart_mail import Message
from app.quart_mail.address import split
from app.web import languages
from app.web.languages import gettext, lazy_gettext

CHANGE_EMAIL_SECONDS = 3600
CONFIRM_REGISTRATION_SECONDS = 24 * 3600
"""How long the links that confirm an address are valid, counted from the request."""

RESET_LIMITS = ((timedelta(minutes=1), 1), (timedelta(hours=1), 5), (timedelta(days=1), 10))
"""Reset mails to one address: at most this many in each period (OWASP Forgot Password Cheat Sheet)."""

NEW_LOGIN_LIMITS = ((timedelta(hours=1), 1), (timedelta(days=1), 5))
"""Notices of new logins to one address."""

ADDRESS_LIMITS = ((timedelta(hours=1), 5), (timedelta(days=1), 10))
"""Mails of one kind to an address, which may not belong to the person who entered it."""

NEW_USER_LIMITS = ((timedelta(minutes=10), 1),)
"""Mails to FLASKY_ADMIN about new users."""

NAMES_IN_DIGEST = 50


class Nobody(NamedTuple):
    """Takes the place of the account in a reset mail for an unknown address, which is not sent."""

    id: int = 0
    username: str = "nobody"
    email: str = "nobody@example.com"
    credentials_version: int = 0
    language: str | None = None


def init_app(app: Quart) -> None:
    """Register these mails with the outbox of `app`."""
    mailer.register(app, ResetPassword, ConfirmRegistration, ChangeEmail, NewLogin, PasswordChanged)
    mailer.register(app, EmailChangeAsked, EmailChanged, AccountDeleted, NewUser, Welcome)


@dataclass(frozen=True, slots=True)
class ResetPassword(Email):
    """The link that lets the owner of `address` choose a new password.

    The account is looked up when the mail is rendered, so that a request takes as long for every address.
    Rendering begins after a random delay and does the same work for an address without an account, so that
    the next request reveals nothing either.
    The link is valid for RESET_TOKEN_SECONDS from the request, however long the mail waited.
    """

    kind = tokens.RESET
    subject = lazy_gettext("Reset Your Password")
    priority = Priority.RESET
    secret = True
    link_seconds = "RESET_TOKEN_SECONDS"
    delay = "OUTBOX_RESET_DELAY"
    address: str

    def unique_key(self) -> str:
        """Allow one waiting mail per address, ignoring case."""
        return f"reset_password:{canonical(self.address)}"

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail to the address stored for the account; a decoy if there is none."""
        account = await queries.find_by_address(self.address)
        user = account or Nobody()
        languages.use(user.language)
        rate_key = _rate_key(user.email) if account else f"unknown:{_rate_key(self.address)}"
        if await outbox.allowed_at(request, rate_key, RESET_LIMITS):
            return None
        seconds = current_app.config["RESET_TOKEN_SECONDS"]
        link = _link("reset_password", request, self.kind, seconds, user.id, user.credentials_version)
        minutes = round(seconds / 60)
        message = await self.message(user.email, username=user.username, link=link, minutes=minutes)
        return Rendered(message, rate_key, is_decoy=account is None)


@dataclass(frozen=True, slots=True)
class ConfirmRegistration(Email):
    """The link that confirms a registration, or a notice that its address already has an account.

    `again`: the link was sent before, and is limited like a reset link.
    """

    kind = tokens.CONFIRM_REGISTRATION
    subject = lazy_gettext("Confirm your address")
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
            return await _limited(request, await _address_taken(owners[0]), limits)
        link = _link("confirm", request, self.kind, CONFIRM_REGISTRATION_SECONDS, self.registration_id)
        message = await self.message(registration.email, username=registration.username, link=link)
        return await _limited(request, message, limits)


@dataclass(frozen=True, slots=True)
class ChangeEmail(Email):
    """The link that confirms a new `address`; if another account has it, a notice to that account instead.

    `version`: the account's credentials_version at the request. Any change since then cancels it.
    """

    kind = tokens.CHANGE_EMAIL
    subject = lazy_gettext("Confirm your new address")
    priority = Priority.ACCOUNT
    secret = True
    link_seconds = CHANGE_EMAIL_SECONDS
    user_id: int
    version: int
    address: str

    def unique_key(self) -> str:
        """Allow one waiting mail per account."""
        return f"{self.kind}:{self.user_id}"

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail to the new address."""
        account = await _find(self.user_id)
        if account is None or account.credentials_version != self.version:
            return None
        owners = await queries.find_owners(self.address)
        if any(owner.id != account.id for owner in owners):
            return await _limited(request, await _address_taken(owners[0]), ADDRESS_LIMITS)
        subject = (account.id, self.version, self.address)
        link = _link("change_email", request, self.kind, CHANGE_EMAIL_SECONDS, *subject)
        message = await self.message(self.address, username=account.username, link=link)
        return await _limited(request, message, ADDRESS_LIMITS)


@dataclass(frozen=True, slots=True)
class NewLogin(Email):
    """The notice of a login from a browser that the account has not used before, and of `more` after it.

    `device`: the browser and system, such as "Firefox on Linux". `at`: the time in ISO 8601. The notice waits
    until NEW_LOGIN_LIMITS allow it, and logins meanwhile are counted in it. An address that nobody has
    confirmed gets none, unless a reset link was requested for it in the last OUTBOX_KEEP: somebody may have
    registered with the address of somebody else.
    """

    kind = "new_login"
    subject = lazy_gettext("New login to your account")
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
        account = await _find(self.user_id)
        if account is None:
            return None
        rate_key = _rate_key(account.email)
        if not account.email_confirmed and not await outbox.was_handed_over(ResetPassword.kind, rate_key):
            return None
        if until := await outbox.allowed_at(request, rate_key, NEW_LOGIN_LIMITS):
            return Postponed(until)
        context = asdict(self) | {"at": datetime.fromisoformat(self.at), "device": localized(self.device)}
        context |= _context(account.username)
        return Rendered(await self.message(account.email, **context), rate_key)


@dataclass(frozen=True, slots=True)
class Notice(Email):
    """A mail to the owner of an account about something that happened to it.

    `device`, in subclasses: the browser and system, such as "Firefox on Linux"; "" if unknown.
    """

    user_id: int

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail, unless the account was deleted or ADDRESS_LIMITS are reached.

        There are limits because nobody may have confirmed the address.
        """
        account = await _find(self.user_id)
        if account is None:
            return None
        context = _context(account.username) | asdict(self) | {"at": request.created_at}
        context["device"] = localized(context.get("device", ""))
        message = await self.message(self.recipient(account.email), **context)
        return await _limited(request, message, ADDRESS_LIMITS)

    def recipient(self, email: str) -> str:
        """Return the address to send to; `email` is the account's."""
        return email


@dataclass(frozen=True, slots=True)
class Welcome(Notice):
    """The mail that tells the owner of a new account what to do first."""

    kind = "welcome"
    subject = lazy_gettext("Welcome to Microblog")


@dataclass(frozen=True, slots=True)
class PasswordChanged(Notice):
    """The notice that the password of the account was changed."""

    kind = "password_changed"
    subject = lazy_gettext("Your password was changed")
    device: str = ""


@dataclass(frozen=True, slots=True)
class EmailChangeAsked(Notice):
    """The notice to the account's present address that a change to `address` was requested."""

    kind = "email_change_asked"
    subject = lazy_gettext("Email address change requested")
    priority = Priority.ACCOUNT
    address: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class EmailChanged(Notice):
    """The notice to `address`, the account's old one, which can no longer reset the password."""

    kind = "email_changed"
    subject = lazy_gettext("Your email address was changed")
    priority = Priority.ACCOUNT
    address: str
    device: str = ""

    def recipient(self, email: str) -> str:
        """Return the old address."""
        return self.address


@dataclass(frozen=True, slots=True)
class AccountDeleted(Email):
    """The last mail to `address`, whose account was deleted. Its parameters are erased even if it fails."""

    kind = "account_deleted"
    subject = lazy_gettext("Your account was deleted")
    priority = Priority.ACCOUNT
    transient = True
    username: str
    address: str

    async def render(self, request: MailRequest) -> Rendered | None:
        """Render the mail to the address of the former account."""
        return await _limited(
            request, await self.message(self.address, username=self.username), ADDRESS_LIMITS
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
        account = await queries.find_by_address(split(admin)[1])
        languages.use(languages.of(account and account.language).code)
        subject = gettext("New User") if self.count == 1 else gettext("New Users")
        template, more = "email/new_user", self.count - len(names)
        message = await render(
            admin, subject, template, username=names[0], names=names, count=self.count, more=more
        )
        return Rendered(message, self.kind)


async def announce(session: AsyncSession, new: NewUser) -> None:
    """Post `new` if FLASKY_ADMIN is set."""
    if current_app.config["FLASKY_ADMIN"]:
        await new.post(session)


async def _find(user_id: int) -> queries.Account | None:
    """Return the account with this id, or None, and continue in its language and time zone."""
    account = await queries.find(user_id)
    if account is not None:
        languages.use(account.language, account.timezone)
    return account


async def _address_taken(owner: queries.Account) -> Message:
    """Render the mail that tells `owner` that somebody tried to use their address for another account."""
    languages.use(owner.language)
    return await render(
        owner.email, gettext("You already have an account"), "email/address_taken", **_context(owner.username)
    )


async def _limited(request: MailRequest, message: Message, limits: RateLimits) -> Rendered | None:
    """Return `message` unless `limits` for its recipient are reached: anybody can cause such mails."""
    rate_key = _rate_key(str(message.recipients[0]))
    return None if await outbox.allowed_at(request, rate_key, limits) else Rendered(message, rate_key)


def _link(
    page: str,
    request: MailRequest,
    purpose: str,
    seconds: float,
    subject: int,
    version: int = 0,
    address: str = "",
) -> str:
    """Return the URL of `page` with a token, valid for `seconds` from the request on."""
    start = request.created_at
    token = tokens.mint(purpose, subject, version, expires_in=seconds, requested_at=start, address=address)
    return f"{current_app.config['BASE_URL']}/{page}/{token}"


def _context(username: str) -> dict[str, Any]:
    """Return the variables of the templates of notices: the name, links to pages, and the contact address."""
    pages = {
        "reset": "/reset_password_request",
        "login": "/login",
        "sessions": "/sessions",
        "explore": "/explore",
    }
    contact = ", ".join(current_app.config["ADMINS"])
    return {name: site_url(path) for name, path in pages.items()} | {"username": username, "contact": contact}


def _rate_key(address: str) -> str:
    """Return the key by which mails to `address` are counted. It outlives the account, anonymously."""
    key = current_app.config["SECRET_KEY"].encode()
    return f"address:{hmac.digest(key, canonical(address).encode(), 'sha256').hex()}"
