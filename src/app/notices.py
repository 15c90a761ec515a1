"""The mails that accounts cause about themselves: confirmations, notices, and the person's own data.

Each function renders one kind when the outbox delivers it: links are minted then, and whether an address is
somebody's is looked up then.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from quart import Quart, current_app

from app import outbox, personal_data
from app.accounts import credentials, registrations, tokens
from app.accounts import queries as accounts
from app.accounts.canonical import canonical
from app.email import render
from app.outbox import MailRequest, Priority, Rendered
from app.quart_mail import Attachment, Message

ADDRESS_SPACING = ((timedelta(hours=1), 5), (timedelta(days=1), 10))
"""At most so many mails to an address that somebody typed, whoever has it."""


def init_app(app: Quart) -> None:
    """Register these mails with the outbox of `app`."""
    for renderer, expiry in (
        (change_email, credentials.CHANGE_EMAIL_SECONDS),
        (confirm_registration, registrations.CONFIRM_SECONDS),
    ):
        outbox.register(
            app,
            renderer.__name__,
            renderer,
            priority=Priority.ACCOUNT,
            expiry=expiry - app.config["OUTBOX_EXPIRY_MARGIN"],
            secret=True,
        )
    for notice in (new_login, email_change_asked, email_changed, account_deleted, your_data):
        outbox.register(app, notice.__name__, notice, priority=Priority.ACCOUNT)


async def new_login(request: MailRequest) -> Message | None:
    """Render the notice of a login from a browser that the account did not know."""
    return await _notice(
        request,
        "New login to your account",
        "email/new_login",
        device=request.params["device"],
        at=datetime.fromisoformat(request.params["at"]),
        sessions=_address_of("/sessions"),
        reset=_address_of("/reset_password_request"),
    )


async def change_email(request: MailRequest) -> Rendered | None:
    """Render the link by which a new address confirms itself, or the news that it has an account."""
    address = request.params["address"]
    account = await accounts.find(request.params["user_id"])
    if account is None or account.credentials_version != request.params["version"]:
        return None
    owners = await credentials.owners_of(address)
    if any(owner.id != account.id for owner in owners):
        return await _address_taken(request, owners)
    token = tokens.mint(
        tokens.CHANGE_EMAIL,
        account.id,
        account.credentials_version,
        expires_in=credentials.CHANGE_EMAIL_SECONDS,
        requested_at=request.created_at,
        address=address,
    )
    return await _spaced(
        request,
        address,
        "Confirm your new address",
        "email/change_email",
        username=account.username,
        link=_address_of(f"/change_email/{token}"),
    )


async def confirm_registration(request: MailRequest) -> Rendered | None:
    """Render the link that finishes a registration, or the news that its address has an account."""
    registration_id = request.params["registration_id"]
    waiting = await registrations.find(registration_id)
    if waiting is None:
        return None
    owners = await credentials.owners_of(waiting.email)
    if owners:
        return await _address_taken(request, owners)
    token = tokens.mint(
        tokens.CONFIRM_REGISTRATION,
        registration_id,
        expires_in=registrations.CONFIRM_SECONDS,
        requested_at=request.created_at,
    )
    return await _spaced(
        request,
        waiting.email,
        "Confirm your address",
        "email/confirm_registration",
        username=waiting.username,
        link=_address_of(f"/confirm/{token}"),
    )


async def email_change_asked(request: MailRequest) -> Message | None:
    """Render the notice to the old address that a new one was asked to confirm itself."""
    return await _notice(
        request,
        "Somebody asked to change your email address",
        "email/email_change_asked",
        address=request.params["address"],
        reset=_address_of("/reset_password_request"),
    )


async def email_changed(request: MailRequest) -> Message | None:
    """Render the notice to the old address, which cannot reset the password any more."""
    return await _notice(
        request,
        "Your email address was changed",
        "email/email_changed",
        to=request.params["address"],
        contact=", ".join(current_app.config["ADMINS"]),
    )


async def account_deleted(request: MailRequest) -> Message:
    """Render the last mail to somebody who has left."""
    name = request.params["username"]
    template = "email/account_deleted"
    return await render(
        request.params["address"], "Your account was deleted", template, username=name
    )


async def your_data(request: MailRequest) -> Message | None:
    """Render what is stored about somebody, as a JSON file."""
    message = await _notice(request, "Your data", "email/your_data")
    data = await personal_data.collect(request.params["user_id"])
    if message is None or data is None:  # the account is gone, perhaps since the line before
        return None
    message.attachments.append(Attachment("microblog.json", "application/json", data))
    return message


async def _address_taken(request: MailRequest, owners: Any) -> Rendered | None:
    """Render, for whoever has an address, that somebody tried to use it for another account."""
    return await _spaced(
        request,
        owners[0].email,
        "You have an account already",
        "email/address_taken",
        username=owners[0].username,
        login=_address_of("/login"),
        reset=_address_of("/reset_password_request"),
    )


async def _notice(
    request: MailRequest, subject: str, template: str, *, to: str = "", **context: Any
) -> Message | None:
    """Render a mail to the account named in `request`, or to its address `to`; None when it is gone."""
    account = await accounts.find(request.params["user_id"])
    if account is None:
        return None
    return await render(
        to or account.email, subject, template, username=account.username, **context
    )


async def _spaced(
    request: MailRequest, to: str, subject: str, template: str, **context: Any
) -> Rendered | None:
    """Render a mail that anybody can cause, unless the address has had enough of its kind."""
    about = f"address:{sha256(canonical(to).encode()).hexdigest()}"
    if not await outbox.is_spaced(request.kind, about, ADDRESS_SPACING):
        return None
    return Rendered(await render(to, subject, template, **context), about=about)


def _address_of(path: str) -> str:
    return f"{current_app.config['BASE_URL']}{path}"
