"""What posts can do: be said."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from app.database import writing
from app.posts.models import Post


class AuthorGone(LookupError):
    """The account was deleted while it spoke."""


async def say(author_id: int, body: str) -> int:
    """Store what the account `author_id` says, and return the post's id; raises AuthorGone."""
    post = Post(body=body, user_id=author_id)
    try:
        async with writing() as session:
            session.add(post)
    except IntegrityError as error:
        raise AuthorGone(author_id) from error
    return post.id
