"""Private messages, notifications and tasks: the tables of Microblog v0.21 and v0.22.

Adopted databases bring their rows. They have no pages yet.
"""

from datetime import datetime

from quart import Quart
from sqlalchemy import Float, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, UtcDateTime

BODY_LENGTH = 140
NAME_LENGTH = 128
DESCRIPTION_LENGTH = 128
TASK_ID_LENGTH = 36


def init_app(app: Quart) -> None:
    """Declare the tables, so that deleting an account finds its rows."""


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
    """A job that ran in the background. `progress`: percent; less than 100 if it was never finished."""

    __tablename__ = "task"

    id: Mapped[str] = mapped_column(String(TASK_ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str | None] = mapped_column(String(DESCRIPTION_LENGTH))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    complete: Mapped[bool]
    progress: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    created_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
