"""The mails of the tutorials, one short function each, and their helpers; `app.notices` has the others.

All of them are durable: they return when the mail is safely stored, inside a `writing()` block with its
transaction, and delivery goes on by itself. `await` the handle they return to see the end of it.

The functions named for a mail (`reset_password`, ...) are its renderers: the outbox calls them when
it delivers, so that no token and no text is at rest before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from quart import Quart, current_app

from app import outbox, reports
from app.accounts import mails, tokens
from app.accounts import queries as accounts
from app.accounts.models import User
from app.database import writing
from app.outbox import Handle, MailRequest, Priority, Rendered
from app.quart_mail import Attachment, Message

if TYPE_CHECKING:
    from jinja2 import Template

RESET_SPACING = ((timedelta(minutes=1), 1), (timedelta(hours=1), 5), (timedelta(days=1), 10))
"""At most so many reset mails for one account in so much time (OWASP Forgot Password Cheat Sheet)."""

ERROR_REPORT_SECONDS = 86400


def init_app(app: Quart) -> None:
    """Register the site's mails with the outbox of `app`."""
    config = app.config
    reset_expiry = config["RESET_TOKEN_SECONDS"] - config["OUTBOX_EXPIRY_MARGIN"]
    outbox.register(
        app,
        "reset_password",
        reset_password,
        priority=Priority.RESET,
        expiry=max(reset_expiry, 1),
        secret=True,
    )
    outbox.register(app, "password_changed", password_changed)
    outbox.register(app, "new_user", new_user)
    outbox.register(
        app, reports.KIND, error_report, priority=Priority.LOW, expiry=ERROR_REPORT_SECONDS
    )


async def send_email(
    subject: str,
    sender: str | tuple[str, str] | None,
    recipients: Sequence[str],
    text_body: str | None,
    html_body: str | None,
    attachments: Sequence[Attachment | tuple[str, str, bytes]] | None = None,
) -> Handle:
    """Store a ready-made mail, as Microblog's function of this name sends one.

    `attachments`: Attachment objects, or tuples of filename, media type and bytes.
    """
    message = Message(
        subject,
        sender=sender,
        recipients=list(recipients),
        body=text_body,
        html=html_body,
        attachments=[
            item if isinstance(item, Attachment) else Attachment(*item)
            for item in attachments or ()
        ],
    )
    async with writing() as session:
        return await outbox.post_message(session, message)


async def send_template_email(to: str, subject: str, template: str, **context: Any) -> Handle:
    """Store a mail made of `template + ".txt"` and `".html"`, as Flasky's send_email sends one."""
    message = await render(to, subject, template, **context)
    async with writing() as session:
        return await outbox.post_message(session, message)


async def send_password_reset_email(user: User) -> Handle:
    """Ask for the mail that lets `user` choose a new password."""
    async with writing() as session:
        return await mails.reset_password(session, user.email)


async def send_password_changed_email(user: User) -> Handle:
    """Ask for the notice that the password of `user` was changed."""
    async with writing() as session:
        return await mails.password_changed(session, user.id)


async def send_new_user_email(username: str) -> Handle:
    """Ask for the mail that tells FLASKY_ADMIN of somebody new."""
    async with writing() as session:
        return await mails.new_user(session, username)


async def send_error_report(error: BaseException) -> Handle:
    """Ask for a report of `error` to ADMINS, whatever was reported before.

    Errors that nobody handles report themselves, once per kind and ten minutes.
    """
    async with writing() as session:
        return await reports.post(session, error)


async def reset_password(request: MailRequest) -> Rendered | None:
    """Render the reset mail for the account that has the asked address, if one does.

    The link is good for RESET_TOKEN_SECONDS from the request, however long the mail waited.
    """
    user = await accounts.find_by_address(request.params["address"])
    if user is None:
        return None
    about = f"user:{user.id}"
    if not await outbox.is_spaced(request.kind, about, RESET_SPACING):
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
        link=f"{current_app.config['BASE_URL']}/reset_password/{token}",
        minutes=round(seconds / 60),
    )
    return Rendered(message, about=about)


async def password_changed(request: MailRequest) -> Message | None:
    """Render the notice to an account whose password was changed."""
    user = await accounts.find(request.params["user_id"])
    if user is None:
        return None
    return await render(
        user.email,
        "Your password was changed",
        "email/password_changed",
        username=user.username,
        link=f"{current_app.config['BASE_URL']}/reset_password_request",
    )


async def new_user(request: MailRequest) -> Message | None:
    """Render the mail that tells FLASKY_ADMIN, if set, of somebody new."""
    admin = current_app.config["FLASKY_ADMIN"]
    if not admin:
        return None
    return await render(admin, "New User", "email/new_user", username=request.params["username"])


async def error_report(request: MailRequest) -> Message | None:
    """Render the mail that tells ADMINS, if set, of unhandled errors of one kind."""
    admins = current_app.config["ADMINS"]
    if not admins:
        return None
    message = await render(admins[0], "Failure", "email/error_report", **request.params)
    message.recipients = list(admins)
    return message


async def render(to: str, subject: str, template: str, **context: Any) -> Message:
    """Return the message to `to` whose bodies are `template + ".txt"` and `".html"`.

    The subject gets MAIL_SUBJECT_PREFIX; the sender is MAIL_DEFAULT_SENDER.
    """
    prefix = current_app.config["MAIL_SUBJECT_PREFIX"]
    context["config"] = current_app.config
    return Message(
        f"{prefix} {subject}" if prefix else subject,
        recipients=[to],
        body=await _template(f"{template}.txt").render_async(context),
        html=await _template(f"{template}.html").render_async(context),
    )


def _template(name: str) -> Template:
    return current_app.jinja_env.get_template(name)
