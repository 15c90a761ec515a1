"""Sample accounts, conversations and follows for `microblog dev --demo`.

They are the same at every start. If another account uses one of their names or addresses, none are added.
"""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.security import generate_password_hash

from app.accounts.models import User, followers
from app.accounts.names import canonical
from app.database import writing
from app.posts import service
from app.posts.models import Post

USERNAME = "susan"
PASSWORD = "microblog demo"  # noqa: S105 -- printed by the command
HASH_METHOD = "pbkdf2:sha256:1000"  # upgraded at the first login

_DATA = json.loads(Path(__file__).with_name("demo.json").read_text(encoding="utf-8"))
PEOPLE: dict[str, str] = _DATA["people"]  # what each says about themselves
POSTS: list[list[Any]] = _DATA["posts"]
"""Author, language, text, and the beginning of what it replies to; the oldest first."""


async def fill() -> bool:
    """Add the sample data unless it exists; return whether it exists now.

    Sample accounts that were deleted or renamed since an earlier start are not restored.
    """
    rng = random.Random(1)  # noqa: S311 -- a fixed seed
    async with writing() as session:
        rows = await session.execute(
            select(User.username, User.email).where(
                or_(
                    User.username_canonical.in_([canonical(name) for name in PEOPLE]),
                    User.email_canonical.in_([canonical(_address(name)) for name in PEOPLE]),
                )
            )
        )
        if existing := [tuple(row) for row in rows]:
            return (USERNAME, _address(USERNAME)) in existing
        now = datetime.now(UTC)
        ids = await _add_accounts(session, rng, now)
        await _add_posts(session, ids, rng, now)
        await session.execute(insert(followers), _follow_rows(list(ids.values()), rng))
    return True


def _address(name: str) -> str:
    return f"{name}@example.com"


async def _add_accounts(session: AsyncSession, rng: random.Random, now: datetime) -> dict[str, int]:
    """Add the accounts; return their ids by name."""
    hashed = generate_password_hash(PASSWORD, HASH_METHOD)
    people = [
        User(
            username=name,
            email=_address(name),
            password_hash=hashed,
            about_me=about,
            last_seen=now - timedelta(minutes=rng.randrange(5, 3 * 24 * 60)),
        )
        for name, about in PEOPLE.items()
    ]
    session.add_all(people)
    await session.flush()
    return {person.username: person.id for person in people}


async def _add_posts(session: AsyncSession, ids: dict[str, int], rng: random.Random, now: datetime) -> None:
    """Add the posts, from days to minutes ago."""
    ages = [timedelta(minutes=rng.randrange(12, 480), seconds=rng.randrange(60)) for _ in POSTS]
    added: list[Post] = []
    for number, (name, language, body, *answered) in enumerate(POSTS):
        parents = [post.id for post in added if answered and post.body.startswith(answered[0])]
        parent = parents[-1] if parents else None
        posted = now - sum(ages[number:], timedelta())
        post = Post(user_id=ids[name], body=body, language=language, timestamp=posted)
        post.reply_to, post.is_reply = parent, parent is not None
        await service.add_post(session, post)
        added.append(post)


def _follow_rows(ids: Sequence[int], rng: random.Random) -> list[dict[str, int]]:
    """Return rows for the follows: everyone follows three to seven others."""
    return [
        {"follower_id": follower, "followed_id": followed}
        for follower in ids
        for followed in rng.sample([other for other in ids if other != follower], rng.randrange(3, 8))
    ]
