"""The outbox's tables: one row per delivery, and the content of ready-made messages once.

`due_at` alone says when a row may be taken: while it waits, the time of its next attempt; while it is
claimed, the end of the claim's lease; NULL when nothing is left to do. So one index finds what is due.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    exists,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, UtcDateTime

LONGEST_TEXT = 500
"""Characters kept of what a server or an error said."""

LONGEST_ABOUT = 255
LONGEST_ADDRESS = 320
LONGEST_MESSAGE_ID = 255

_Id = BigInteger().with_variant(Integer, "sqlite")


class State(enum.StrEnum):
    """Where a delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SKIPPED = "skipped"

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self not in (State.QUEUED, State.SENDING)


class Priority(enum.IntEnum):
    """What goes first; one connection is kept for RESET."""

    RESET = 0
    ACCOUNT = 1
    NORMAL = 2
    LOW = 3


class Content(Base):
    """A ready-made message, kept while a delivery that may still be sent, or tried again, needs it."""

    __tablename__ = "outbox_content"

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    message: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


def _index_of_some(column: str, *others: str) -> Index:
    """Return an index of the rows whose `column` is not NULL; the others cost it nothing."""
    some = text(f"{column} IS NOT NULL")
    name = f"ix_outbox_{column}"
    return Index(name, column, *others, sqlite_where=some, postgresql_where=some)


class Delivery(Base):
    """One mail to deliver: a kind with its parameters, or a content with one recipient."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "priority", "due_at"),
        _index_of_some("about", "kind"),
        _index_of_some("content_id"),
        _index_of_some("expires_at"),
        _index_of_some("done_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    params: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    content_id: Mapped[int | None] = mapped_column(ForeignKey("outbox_content.id"))
    recipient: Mapped[str | None] = mapped_column(String(LONGEST_ADDRESS))
    message_id: Mapped[str] = mapped_column(String(LONGEST_MESSAGE_ID))
    unique_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    """Only while the row is queued and no attempt of it has reached DATA."""
    about: Mapped[str | None] = mapped_column(String(LONGEST_ABOUT))
    """Whom the mail is about, as its renderer said; what rates are counted by."""
    priority: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(String(8))
    attempts: Mapped[int] = mapped_column(Integer)
    in_doubt: Mapped[bool]
    """The mail may have arrived without our knowing, and so may arrive twice (with one Message-ID)."""
    claim_id: Mapped[str | None] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    handed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When DATA was last begun, unless the server then refused the mail."""
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_code: Mapped[int | None] = mapped_column(Integer)
    last_text: Mapped[str | None] = mapped_column(String(LONGEST_TEXT))


NEEDED = exists(select(Delivery.id).where(Delivery.content_id == Content.id))
"""That a delivery still refers to a content."""
