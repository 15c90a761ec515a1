"""The mail functions of the tutorials, made durable.

Each returns when the mail is safely stored; delivery goes on in the background. Inside a `writing()` block
the mail is part of that transaction. Await the returned handle to wait until the mail is sent or has failed.

The site's other mails are in the features that send them; see `app.mailer`.
"""

from collections.abc import Sequence
from typing import Any

from app import outbox, reports
from app.accounts import emails
from app.accounts.models import User
from app.database import writing
from app.mailer import render as render
from app.outbox import Handle
from app.quart_mail import Attachment, Message


async def send_email(
    subject: str,
    sender: str | tuple[str, str] | None,
    recipients: str | Sequence[str],
    text_body: str | None,
    html_body: str | None,
    attachments: Sequence[Attachment | tuple[str, str, bytes]] | None = None,
) -> Handle:
    """Store a ready-made mail, like Microblog's function of this name.

    `recipients`: one address or several. `attachments`: Attachment objects, or tuples of filename, media type
    and bytes.
    """
    message = Message(
        subject,
        sender=sender,
        recipients=[recipients] if isinstance(recipients, str) else list(recipients),
        body=text_body,
        html=html_body,
        attachments=[
            item if isinstance(item, Attachment) else Attachment(*item) for item in attachments or ()
        ],
    )
    async with writing() as session:
        return await outbox.post_message(session, message)


async def send_template_email(to: str, subject: str, template: str, **context: Any) -> Handle:
    """Store a mail made of `template + ".txt"` and `".html"`, like Flasky's send_email."""
    message = await render(to, subject, template, **context)
    async with writing() as session:
        return await outbox.post_message(session, message)


async def send_password_reset_email(user: User) -> Handle:
    """Send the link that lets `user` choose a new password."""
    async with writing() as session:
        return await emails.ResetPassword(user.email).post(session)


async def send_password_changed_email(user: User) -> Handle:
    """Tell `user` that their password was changed."""
    async with writing() as session:
        return await emails.PasswordChanged(user.id).post(session)


async def send_new_user_email(username: str) -> Handle:
    """Tell FLASKY_ADMIN of a new user; at most one mail in 10 minutes, which then names several."""
    async with writing() as session:
        return await emails.NewUser(names=(username,)).post(session)


async def send_error_report(error: BaseException) -> Handle:
    """Report `error` to ADMINS, even if it was reported before.

    Unhandled errors are reported automatically, at most once per kind in ten minutes.
    """
    async with writing() as session:
        return await reports.post(session, error)
