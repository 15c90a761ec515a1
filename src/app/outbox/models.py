"""The outbox's tables: one row per delivery, and the content of each ready-made message.

`due_at` alone says when a row can be claimed. For a waiting row it is the time of the next attempt, for a
claimed row the end of the claim's lease, and it is NULL when the row is done. One index finds what is due.
"""

import enum
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    exists,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, JsonObject, Unreadable, UtcDateTime

LONGEST_TEXT = 500
"""Characters kept of a reply or an error message."""

LONGEST_ABOUT = 255
LONGEST_ADDRESS = 320
LONGEST_MESSAGE_ID = 255

_Id = BigInteger().with_variant(Integer, "sqlite")


class State(enum.StrEnum):
    """The state of a delivery."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SKIPPED = "skipped"


DONE_STATES = frozenset({State.SENT, State.FAILED, State.EXPIRED, State.SKIPPED})
"""The states of deliveries that need no further attempt."""


class Priority(enum.IntEnum):
    """The order of delivery, lowest first; one connection is reserved for RESET."""

    RESET = 0
    ACCOUNT = 1
    NORMAL = 2
    LOW = 3


class Content(Base):
    """A ready-made message, kept while a delivery that can still be sent or retried needs it."""

    __tablename__ = "outbox_content"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    message: Mapped[dict[str, Any] | Unreadable] = mapped_column(JsonObject)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


def _partial_index(column: str, *others: str) -> Index:
    """Return an index of the rows whose `column` is not NULL."""
    where = text(f"{column} IS NOT NULL")
    name = f"ix_outbox_{column}"
    return Index(name, column, *others, sqlite_where=where, postgresql_where=where)


class Delivery(Base):
    """One mail to deliver: a kind with its parameters, or a ready-made message with one recipient.

    A kind that renders to several recipients gets a row for each (see `transitions.split`).
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "priority", "due_at"),
        _partial_index("about", "kind"),
        _partial_index("content_id"),
        _partial_index("expires_at"),
        _partial_index("done_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    params: Mapped[dict[str, Any] | Unreadable | None] = mapped_column(JsonObject)
    content_id: Mapped[int | None] = mapped_column(ForeignKey("outbox_content.id"))
    recipient: Mapped[str | None] = mapped_column(String(LONGEST_ADDRESS))
    message_id: Mapped[str] = mapped_column(String(LONGEST_MESSAGE_ID))
    unique_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    """Set only while the row is queued and no attempt may have delivered it."""
    about: Mapped[str | None] = mapped_column(String(LONGEST_ABOUT))
    """The subject of the mail, such as `user:7`, given by its renderer; rate limits count by it."""
    priority: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int] = mapped_column(Integer)
    in_doubt: Mapped[bool]
    """Whether an attempt ended without a reply: the mail can arrive twice, with the same Message-ID."""
    claim_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    handed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the last attempt was about to send DATA, unless the server then refused the mail."""
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_code: Mapped[int | None] = mapped_column(Integer)
    last_text: Mapped[str | None] = mapped_column(String(LONGEST_TEXT))


table = cast(Table, Delivery.__table__)
contents = cast(Table, Content.__table__)

IS_NEEDED = exists(select(table.c.id).where(table.c.content_id == contents.c.id))
"""Whether a delivery still refers to a content."""
