"""Download your data: everything stored about a person, mailed to them as one JSON file.

GDPR articles 15 and 20. It is mailed to the account's address, so that a stolen session alone cannot get it.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quart import Quart, redirect
from quart.typing import ResponseReturnValue
from sqlalchemy import Select, String, Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app import mailer
from app.accounts.auth import login_required, visitor
from app.accounts.models import KnownDevice, LoginSession, User, followers
from app.database import reading, writing
from app.mailer import Email, render
from app.messages import Message as PrivateMessage
from app.messages import Notification, Task
from app.outbox import MailRequest, Priority
from app.posts.models import Mention, Post
from app.quart_mail import Attachment, Message
from app.web import languages
from app.web.forms import EmptyForm
from app.web.languages import gettext, lazy_gettext
from app.web.templating import Blueprint, flash

MAX_ROWS = 50_000
"""The newest rows of each list: few mail servers accept a mail much larger than 15 MB."""

DOWNLOADS = "5 per day"
REQUESTED = lazy_gettext("Your data is on its way to your email address.")

blueprint = Blueprint("personal_data", __name__)


def init_app(app: Quart) -> None:
    """Give `app` the page and the mail."""
    app.register_blueprint(blueprint)
    mailer.register(app, YourData)


@blueprint.route("/download_data", methods=["GET", "POST"])
@login_required
async def download_data() -> ResponseReturnValue:
    """Send people a copy of everything stored about them."""
    form, me = await EmptyForm.from_request(), await visitor()
    if form.validate_on_submit() and await form.count((DOWNLOADS, f"download:{me.id}")):
        async with writing() as session:
            await YourData(me.id).post(session)
        await flash(REQUESTED)
        return redirect("/account")
    return await form.render("accounts/download_data.html", title=lazy_gettext("Your Data"))


@dataclass(frozen=True, slots=True)
class YourData(Email):
    """What is stored about the account, as a JSON file."""

    kind = "your_data"
    priority = Priority.ACCOUNT
    user_id: int

    def unique_key(self) -> str:
        """Allow one waiting mail per account."""
        return f"data:{self.user_id}"

    async def render(self, request: MailRequest) -> Message | None:
        """Collect the data and render the mail to the account's address."""
        data = await collect(self.user_id)
        if data is None:
            return None
        account = data["account"]
        languages.use(account["language"])
        message = await render(
            account["email"], gettext("Your data"), "email/your_data", username=account["username"]
        )
        text = json.dumps(data, ensure_ascii=False, indent=1, default=datetime.isoformat)
        file = Attachment("microblog.json", "application/json", text.encode("utf-8", "replace"))
        message.attachments.append(file)
        return message


async def collect(user_id: int) -> dict[str, Any] | None:
    """Return the person's data, or None if the account was deleted.

    Secrets that protect the account are left out: hashes of the password, of sessions and of browsers.
    """
    account = select(
        *(User.id, User.username, User.email, User.about_me, User.last_seen),
        *(User.language, User.timezone, User.last_message_read_time),
    )
    posts = select(Post.timestamp, Post.body, Post.id, Post.reply_to, Post.language)
    mentions = select(Post.timestamp, User.username, Post.body, Post.id, Post.reply_to)
    mentions = mentions.join(User, User.id == Post.user_id).where(
        Post.id.in_(select(Mention.post_id).where(Mention.user_id == user_id)), Post.user_id != user_id
    )
    others = select(User.username).order_by(User.username)
    following = others.join(followers, followers.c.followed_id == User.id)
    followed_by = others.join(followers, followers.c.follower_id == User.id)
    sessions = select(LoginSession.created_at, LoginSession.seen_at, LoginSession.user_agent)
    sessions = sessions.where(LoginSession.user_id == user_id)
    browsers = select(KnownDevice.seen_at, KnownDevice.user_agent).where(KnownDevice.user_id == user_id)
    message, person = (PrivateMessage.timestamp, PrivateMessage.body), User.username
    sent = select(*message, person.label("to")).join(User, User.id == PrivateMessage.recipient_id)
    received = select(*message, person.label("from")).join(User, User.id == PrivateMessage.sender_id)
    newest = (PrivateMessage.timestamp.desc(), PrivateMessage.id.desc())
    notifications = select(Notification.timestamp, Notification.name, Notification.payload_json)
    tasks = select(Task.created_at, Task.name, Task.description, Task.complete, Task.progress)
    lists = {
        "posts": posts.where(Post.user_id == user_id).order_by(Post.timestamp.desc(), Post.id.desc()),
        "mentions": mentions.order_by(Post.timestamp.desc(), Post.id.desc()),
        "following": following.where(followers.c.follower_id == user_id),
        "followers": followed_by.where(followers.c.followed_id == user_id),
        "sessions": sessions.order_by(LoginSession.seen_at.desc()),
        "browsers": browsers.order_by(KnownDevice.seen_at.desc()),
        "messages_sent": sent.where(PrivateMessage.sender_id == user_id).order_by(*newest),
        "messages_received": received.where(PrivateMessage.recipient_id == user_id).order_by(*newest),
        "notifications": notifications.where(Notification.user_id == user_id),
        "tasks": tasks.where(Task.user_id == user_id).order_by(Task.created_at, Task.id),
    }
    async with reading() as connection:
        rows = await _rows(connection, account.where(User.id == user_id))
        if not rows:
            return None
        listed = {name: await _list(connection, query) for name, query in lists.items()}
        return {"account": rows[0], **listed}


async def _list(connection: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> dict[str, Any]:
    """Return the number of rows, and the first MAX_ROWS of them."""
    counted = select(func.count()).select_from(statement.order_by(None).subquery())
    total = (await connection.execute(counted)).scalar_one()
    return {"total": total, "listed": await _rows(connection, statement.limit(MAX_ROWS))}


async def _rows(connection: AsyncConnection, statement: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Return the rows by the names of their columns.

    Texts are cast, because sqlite3 passes the empty text of a column to its converter as None.
    """
    columns = [
        cast(column, Text).label(column.key) if isinstance(column.type, String) else column
        for column in statement.selected_columns
    ]
    rows = await connection.execute(statement.with_only_columns(*columns, maintain_column_froms=True))
    return [dict(row) for row in rows.mappings()]
