"""What people do with accounts: register, log in, reset and change their credentials, and delete the account.

Links and notices are posted to the outbox in the transaction of the change that they report. Functions
that hash a password raise `passwords.Busy` when the queue for hashing is full. `device` is the browser that
sent the request, such as "Firefox on Linux", for the notice to the owner; "" if unknown.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from quart import Quart, current_app
from sqlalchemy import Column, Table, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.accounts import emails, passwords, queries, sessions, tokens
from app.accounts.models import Registration, User
from app.accounts.names import canonical
from app.database import Base, erase_deleted, writing

BEFORE_DELETION = "before_account_deletion"
LINK_OUTDATED = "the token was used, or the account has changed"
REGISTRATION_OVER = "the registration was confirmed, or has expired"


class Taken(ValueError):
    """A name or address that belongs to another account; `fields` has "username", "email" or both."""

    def __init__(self, fields: frozenset[str]) -> None:
        super().__init__(f"taken: {', '.join(sorted(fields))}")
        self.fields = fields


class WrongPassword(ValueError):
    """No account has this name and password; `user_id`: the account with the name, if there is one."""

    def __init__(self, user_id: int | None) -> None:
        super().__init__(f"wrong password for account {user_id}")
        self.user_id = user_id


class NotConfirmed(Exception):
    """The password is right, but the address was not confirmed yet; the link was sent again."""


class OutdatedCredentials(WrongPassword):
    """The password or address was changed, or the account deleted, after the password was checked."""


@dataclass(frozen=True, slots=True)
class VerifiedCredentials:
    """An account whose password was checked, and the `credentials_version` it was checked for."""

    user_id: int
    version: int


# Registering


async def register(*, username: str, email: str, password: str, language: str | None = None) -> int:
    """Store a new account, tell the administrator, and return the account's id.

    Raises Taken. Nothing is hashed for a taken name or address. Between simultaneous requests the INSERT
    decides.
    """
    if taken := await queries.taken_fields(username, email):
        raise Taken(taken)
    password_hash = await passwords.generate(password)
    user = User(username=username, email=email, password_hash=password_hash, language=language)
    try:
        async with writing() as session:
            await _add(session, user)
    except IntegrityError as error:
        raise Taken(await queries.taken_fields(username, email)) from error
    return user.id


async def request_registration(*, username: str, email: str, password: str) -> None:
    """Store a registration that becomes an account when its address is confirmed (CONFIRM_EMAIL).

    Free and taken addresses are treated alike: the address is looked up when the mail is rendered, which then
    contains the link, or a notice that there is an account already. Raises Taken for a taken name: names are
    public, and a waiting registration does not reserve its name. Expired registrations are deleted.
    """
    if await queries.find_by_name(username) is not None:
        raise Taken(frozenset({"username"}))
    registration = Registration(
        username=username, email=email, password_hash=await passwords.generate(password)
    )
    async with writing() as session:
        await session.execute(delete(Registration).where(Registration.expires_at <= datetime.now(UTC)))
        await _post_confirmation(session, registration)


async def _post_confirmation(
    session: AsyncSession, registration: Registration, *, again: bool = False
) -> None:
    """Store `registration`, which waits for CONFIRM_REGISTRATION_SECONDS from now, and post its link."""
    registration.expires_at = datetime.now(UTC) + timedelta(seconds=emails.CONFIRM_REGISTRATION_SECONDS)
    session.add(registration)
    await session.flush()
    await emails.ConfirmRegistration(registration.id, again).post(session)


async def check_registration(token: str) -> str:
    """Return the name of the account that `token` can create; raises tokens.InvalidToken."""
    claim = tokens.read(tokens.CONFIRM_REGISTRATION, token)
    if (registration := await queries.find_registration(claim.subject)) is None:
        raise tokens.InvalidToken(REGISTRATION_OVER)
    return str(registration.username)


async def confirm_registration(token: str, *, language: str | None = None) -> int:
    """Create the account of the registration that `token` names, tell the administrator, and return its id.

    Raises tokens.InvalidToken, and Taken when the name or address was taken in the meantime.
    """
    registration_id = tokens.read(tokens.CONFIRM_REGISTRATION, token).subject
    conditions = (Registration.id == registration_id, Registration.expires_at > datetime.now(UTC))
    columns = (Registration.username, Registration.email, Registration.password_hash)
    try:
        async with writing() as session:
            rows = await session.execute(delete(Registration).where(*conditions).returning(*columns))
            if (registration := rows.mappings().first()) is None:
                raise tokens.InvalidToken(REGISTRATION_OVER)
            user = User(**registration, email_confirmed=True, language=language)
            await _add(session, user)
    except IntegrityError as error:
        raise Taken(frozenset({"username", "email"})) from error
    return user.id


async def _add(session: AsyncSession, user: User) -> None:
    """Store a new account and post the mails about it; raises IntegrityError when taken."""
    session.add(user)
    await session.flush()
    await emails.Welcome(user.id).post(session)
    await emails.announce(session, emails.NewUser(user_ids=(user.id,)))


# Checking passwords


async def authenticate(username: str, password: str) -> VerifiedCredentials:
    """Return the credentials of the account with this name and password, or raise WrongPassword.

    A wrong password takes as long whether or not the account exists: hence both lookups. A hash made by an
    older method is replaced. Raises NotConfirmed for the password of a registration that waits for its
    confirmation.
    """
    account = await queries.find_by_name(username)
    registration = await queries.find_registration_by_name(username)
    owner = account or registration
    stored = owner.password_hash if owner else None
    if not await passwords.matches(stored, password) or owner is None:
        raise WrongPassword(account.id if account else None)
    if account is None:
        async with writing() as session:
            if waiting := await session.get(Registration, owner.id, with_for_update=True):
                await _post_confirmation(session, waiting, again=True)
        raise NotConfirmed
    if not passwords.is_current(stored):
        new = await passwords.generate(password)
        conditions = (User.id == account.id, User.password_hash == stored)
        async with writing() as session:
            await session.execute(update(User).where(*conditions).values(password_hash=new))
    return VerifiedCredentials(account.id, account.credentials_version)


async def login_name(typed: str) -> str:
    """Return the username to log in with: for an address, that of its account or registration.

    Runs the same statements for every address, so that the time reveals nothing.
    """
    if "@" not in typed or await queries.find_by_name(typed):
        return typed
    account = await queries.find_by_address(typed)
    registration = await queries.find_registration_by_address(typed)
    owner = account or registration
    return owner.username if owner else typed


async def lock_if_current(session: AsyncSession, credentials: VerifiedCredentials) -> User:
    """Lock the account until the transaction of `session` ends, and return it.

    Raises OutdatedCredentials if `credentials` have changed: while a password was being hashed, a reset may
    have been completed, which ends every session. None may start after it with the old password.
    """
    is_current = (User.id == credentials.user_id, User.credentials_version == credentials.version)
    if user := await session.scalar(select(User).where(*is_current).with_for_update()):
        return user
    raise OutdatedCredentials(credentials.user_id)


async def check_password(user_id: int, password: str) -> VerifiedCredentials:
    """Return the credentials of the account if `password` is its current one; raises WrongPassword."""
    account = await queries.find(user_id)
    if account is None or not await passwords.matches(account.password_hash, password):
        raise WrongPassword(user_id)
    return VerifiedCredentials(user_id, account.credentials_version)


# Setting passwords


async def request_reset(address: str) -> None:
    """Store a request for a reset mail; the address is looked up when the mail is rendered."""
    async with writing() as session:
        await emails.ResetPassword(address).post(session)


async def check_reset(token: str) -> User:
    """Return the account whose password `token` can reset; raises tokens.InvalidToken."""
    if (user := await User.verify_reset_password_token(token)) is None:
        raise tokens.InvalidToken(LINK_OUTDATED)
    return user


async def reset_password(token: str, password: str, *, device: str = "") -> int:
    """Set the password of the account that `token` names, end its sessions, and return its id.

    Raises tokens.InvalidToken; of simultaneous requests with one token only the first to write succeeds.
    """
    claim = tokens.read(tokens.RESET, token)
    password_hash = await passwords.generate(password)
    try:
        async with writing() as session:
            user = await lock_if_current(session, VerifiedCredentials(claim.subject, claim.version))
            await _set_password(session, user, password_hash, device)
            user.email_confirmed = True
    except OutdatedCredentials as error:
        raise tokens.InvalidToken(LINK_OUTDATED) from error
    return claim.subject


async def change_password(
    credentials: VerifiedCredentials, new: str, *, device: str = "", keep_device: str | None = None
) -> VerifiedCredentials:
    """Set the account's password to `new`, end its sessions, and return its new credentials.

    `keep_device`: the token of the browser that is not forgotten. Raises OutdatedCredentials.
    """
    password_hash = await passwords.generate(new)
    async with writing() as session:
        user = await lock_if_current(session, credentials)
        await _set_password(session, user, password_hash, device, keep_device)
    return replace(credentials, version=credentials.version + 1)


async def _set_password(
    session: AsyncSession, user: User, password_hash: str, device: str, keep_device: str | None = None
) -> None:
    """Set the account's password, end its sessions, forget its browsers and notify its owner."""
    user.password_hash = password_hash
    user.credentials_version += 1
    await sessions.end_all(user.id, keep_device=keep_device)
    await emails.PasswordChanged(user.id, device).post(session)


# Changing the address


async def request_email_change(credentials: VerifiedCredentials, address: str, *, device: str = "") -> None:
    """Send a confirmation link to the new `address` and a notice to the present one.

    Nothing changes yet, and `address` is not looked up before the mail is rendered.
    """
    async with writing() as session:
        await emails.ChangeEmail(credentials.user_id, credentials.version, address).post(session)
        await emails.EmailChangeAsked(credentials.user_id, address, device).post(session)


async def check_email_change(token: str) -> str:
    """Return the address that `token` can set for its account; raises tokens.InvalidToken."""
    claim = tokens.read(tokens.CHANGE_EMAIL, token)
    account = await queries.find(claim.subject)
    if account is None or account.credentials_version != claim.version:
        raise tokens.InvalidToken(LINK_OUTDATED)
    return claim.address


async def change_email(token: str, *, keep_session: int, device: str = "") -> int:
    """Set the address that `token` names, notify the old one, and return the account's id.

    Ends all sessions of the account except `keep_session`. Raises tokens.InvalidToken, also when the address
    was taken in the meantime.
    """
    claim = tokens.read(tokens.CHANGE_EMAIL, token)
    try:
        async with writing() as session:
            user = await lock_if_current(session, VerifiedCredentials(claim.subject, claim.version))
            old, old_canonical = user.email, user.email_canonical
            user.email = claim.address
            user.email_confirmed = True
            await session.flush()
            if user.email_canonical != old_canonical:
                await release(session, "email", old_canonical)
            await sessions.end_all(user.id, keep_session=keep_session)
            await emails.EmailChanged(user.id, old, device).post(session)
    except OutdatedCredentials as error:
        raise tokens.InvalidToken(LINK_OUTDATED) from error
    except IntegrityError as error:
        raise tokens.InvalidToken("another account has this address") from error
    return claim.subject


# Choosing a language


async def set_language(user_id: int, language: str) -> None:
    """Store the language that the owner of the account has chosen."""
    async with writing() as session:
        await session.execute(update(User).where(User.id == user_id).values(language=language))


# Deleting


def before_deletion(app: Quart, step: Callable[[AsyncSession, int], Awaitable[None]]) -> None:
    """Call `step(session, user_id)` before an account is deleted, in the same transaction."""
    app.extensions.setdefault(BEFORE_DELETION, []).append(step)


async def delete_account(credentials: VerifiedCredentials) -> None:
    """Delete the account with all that refers to it and its waiting mails, and confirm that by mail.

    Raises OutdatedCredentials.
    """
    user_id = credentials.user_id
    async with writing() as session:
        account = await lock_if_current(session, credentials)
        for step in current_app.extensions.get(BEFORE_DELETION, ()):
            await step(session, user_id)
        await _delete_references(session, user_id)
        address = canonical(account.email)
        await session.execute(delete(Registration).where(Registration.email_canonical == address))
        await outbox.withdraw(
            session,
            user_id=user_id,
            username=account.username,
            address=address,
            is_same_address=lambda other: canonical(other) == address,
        )
        await session.execute(delete(User).where(User.id == user_id))
        await release(session, "username", account.username_canonical)
        await release(session, "email", account.email_canonical)
        await emails.AccountDeleted(account.username, account.email).post(session)
    await erase_deleted()


async def _delete_references(session: AsyncSession, user_id: int) -> None:
    """Delete all rows that refer to an account.

    Rows that refer to two accounts are locked in the order of their keys first: on PostgreSQL, two people who
    follow or write to each other may delete their accounts at once.
    """
    columns: dict[Table, list[Column[int]]] = {}
    for column in account_references():
        columns.setdefault(column.table, []).append(column)
    for table, references in columns.items():
        condition = or_(*(column == user_id for column in references))
        if len(references) > 1:
            key = table.primary_key.columns
            await session.execute(select(*key).where(condition).order_by(*key).with_for_update())
        await session.execute(delete(table).where(condition))


def account_references() -> list[Column[int]]:
    """Return every column that refers to an account; adopted databases have no ON DELETE CASCADE."""
    return [
        column
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if any(key.column.table is User.__table__ for key in column.foreign_keys)
    ]


async def release(session: AsyncSession, field: Literal["username", "email"], form: str | None) -> None:
    """Give `form`, a canonical name or address that is free now, to the oldest account that lacks it.

    If names or addresses in an old database differ only by case, only the oldest account has the canonical
    form. The next oldest gets it, so that nobody can register a name that differs from an existing
    one only by case.
    """
    if form is None:
        return
    text, canonical_text = getattr(User, field), getattr(User, f"{field}_canonical")
    candidates = await session.execute(
        select(User.id, text).where(canonical_text.is_(None)).order_by(User.id)
    )
    for user_id, value in candidates.all():
        conditions = (User.id == user_id, text == value, canonical_text.is_(None))
        if canonical(value) == form and await session.scalar(
            update(User).where(*conditions).values({canonical_text: form}).returning(User.id)
        ):
            return
