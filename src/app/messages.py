"""Private messages, notifications and tasks: the tables of Microblog v0.21 and v0.22.

Adopted databases bring their rows, which have no pages yet. Deleting an account deletes its tasks, its
notifications, and the messages it has sent and received.
"""

import time
from datetime import datetime

from quart import Quart
from sqlalchemy import (
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    and_,
    cast,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.models import User
from app.accounts.service import before_deletion
from app.database import Base, UtcDateTime

BODY_LENGTH = 140
NAME_LENGTH = 128
DESCRIPTION_LENGTH = 128
TASK_ID_LENGTH = 36
COMPLETE = 100  # percent
UNREAD_COUNT = "unread_message_count"  # Microblog's name of the notification


def init_app(app: Quart) -> None:
    """Correct other people's unread counts when an account is deleted."""
    before_deletion(app, uncount_messages)


class Message(Base):
    """A private message. `User.last_message_read_time` says which ones the recipient has seen."""

    __tablename__ = "message"
    __table_args__ = (
        Index("ix_message_recipient", "recipient_id", "timestamp", "id"),
        Index("ix_message_conversation", "sender_id", "recipient_id", "timestamp", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sender_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    recipient_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    body: Mapped[str] = mapped_column(String(BODY_LENGTH))
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime)


class Notification(Base):
    """The newest value of something that a person's pages show: a name, and JSON as text.

    `timestamp`: seconds since 1970.
    """

    __tablename__ = "notification"
    __table_args__ = (UniqueConstraint("user_id", "name", name="uq_notification_user_id_name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    timestamp: Mapped[float] = mapped_column(Float)
    payload_json: Mapped[str] = mapped_column(Text)


class Task(Base):
    """A job in the background. `progress`: percent; if it is `complete` with less, it was stopped."""

    __tablename__ = "task"

    id: Mapped[str] = mapped_column(String(TASK_ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str | None] = mapped_column(String(DESCRIPTION_LENGTH))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    complete: Mapped[bool]
    progress: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


async def uncount_messages(session: AsyncSession, sender_id: int) -> None:
    """Subtract the messages of an account that is about to be deleted from the unread counts of others.

    The notifications are locked in the order of their ids, and with them the account's own: two people who
    wrote to each other may delete their accounts at once.
    """
    recipients = select(Message.recipient_id).where(Message.sender_id == sender_id)
    counts = (Notification.name == UNREAD_COUNT, Notification.user_id.in_(recipients))
    affected = select(Notification.id).where(or_(Notification.user_id == sender_id, and_(*counts)))
    await session.execute(affected.order_by(Notification.id).with_for_update())
    unread = (
        select(func.count())
        .select_from(Message)
        .join(User, User.id == Message.recipient_id)
        .where(
            Message.recipient_id == Notification.user_id,
            Message.sender_id != sender_id,
            or_(User.last_message_read_time.is_(None), Message.timestamp > User.last_message_read_time),
        )
    )
    values = {"payload_json": cast(unread.correlate(Notification).scalar_subquery(), Text)}
    corrected = update(Notification).where(*counts).values(values | {"timestamp": time.time()})
    await session.execute(corrected.execution_options(synchronize_session=False))
