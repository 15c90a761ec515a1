"""What posts can do: be said."""

from __future__ import annotations

from app.database import writing
from app.posts.models import Post


async def say(author_id: int, body: str) -> int:
    """Store what the account `author_id` says, and return the post's id."""
    post = Post(body=body, user_id=author_id)
    async with writing() as session:
        session.add(post)
    return post.id
