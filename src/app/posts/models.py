"""The table of posts, with Microblog v0.10's columns, and how a post is stored."""

from datetime import UTC, datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, UtcDateTime, writing

BODY_LENGTH = 140


class Post(Base):
    """A short text by a user, at most 140 characters."""

    __tablename__ = "post"
    __table_args__ = (
        Index("ix_post_timeline", "timestamp", "id", "user_id"),
        Index("ix_post_author", "user_id", "timestamp", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(BODY_LENGTH))
    timestamp: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))

    def __repr__(self) -> str:
        return f"<Post {self.body}>"


class AuthorDeletedError(LookupError):
    """The author's account was deleted while the post was being sent."""


async def create_post(author_id: int, body: str) -> int:
    """Store a post and return its id; raises AuthorDeletedError."""
    post = Post(body=body, user_id=author_id)
    try:
        async with writing() as session:
            session.add(post)
    except IntegrityError as error:
        raise AuthorDeletedError(author_id) from error
    return post.id
