"""The tables of posts, with Microblog v0.10's columns and some more, and of the accounts they mention."""

from datetime import UTC, datetime

from sqlalchemy import ForeignKey, Index, String, false, text
from sqlalchemy.orm import Mapped, mapped_column

from app.accounts.models import USERNAME_LENGTH
from app.database import Base, UtcDateTime

BODY_LENGTH = 140
LANGUAGE_LENGTH = 5


class Post(Base):
    """A short text by a user, at most 140 characters.

    `is_reply` stays true when the post it replies to, `reply_to`, is deleted. `replies`: their number.
    `language`: its code, None if unknown. Added columns are nullable or have a default, so that rows written
    by Microblog itself stay valid. Ids are never reused, so that a link leads to one post only.
    """

    __tablename__ = "post"
    __table_args__ = (
        Index("ix_post_timeline", "timestamp", "id", "user_id"),
        Index("ix_post_author", "user_id", "timestamp", "id"),
        Index(
            "ix_post_replies",
            *("reply_to", "timestamp", "id"),
            sqlite_where=text("reply_to IS NOT NULL"),
            postgresql_where=text("reply_to IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(BODY_LENGTH))
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    reply_to: Mapped[int | None] = mapped_column(ForeignKey("post.id", ondelete="SET NULL"))
    is_reply: Mapped[bool] = mapped_column(default=False, server_default=false())
    replies: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    language: Mapped[str | None] = mapped_column(String(LANGUAGE_LENGTH))

    def __repr__(self) -> str:
        return f"<Post {self.body}>"


class Mention(Base):
    """An account that a post mentions, and the name that the post uses: the account may be renamed."""

    __tablename__ = "mention"

    post_id: Mapped[int] = mapped_column(ForeignKey("post.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(USERNAME_LENGTH), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)


ADD_TO_SEARCH = {
    "sqlite": text("INSERT INTO post_search (rowid, words) VALUES (:id, :words)"),
    "postgresql": text(
        "INSERT INTO post_search (post_id, words)"
        " VALUES (:id, array_to_tsvector(string_to_array(:words, ' ')))"
    ),
}
"""Add a post's words, separated by spaces, to the search index. Deleting the post removes them."""
