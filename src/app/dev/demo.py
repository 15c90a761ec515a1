"""Sample accounts, posts and follows for `microblog dev --demo`.

They are the same at every start. If another account uses one of their names or addresses, none are added.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from werkzeug.security import generate_password_hash

from app.accounts.models import User, followers
from app.accounts.names import canonical
from app.database import writing
from app.posts.models import Post

USERNAME = "susan"
PASSWORD = "microblog demo"  # noqa: S105 -- printed by the command
HASH_METHOD = "pbkdf2:sha256:1000"  # upgraded at the first login

PEOPLE = {
    "susan": "Gardener, reader, learning the cello far too late. Opinions are my cat's.",
    "david": "Bicycle mechanic in Ghent. I fix what squeaks.",
    "mary.okafor": "Weather scientist. Yes, you should take the umbrella.",
    "john": "Baker. Up at three, so you have bread at seven.",
    "leila_h": "Architect of small things: sheds, bird houses, shelves.",
    "tomasz": "Trains, timetables, and the people who wait for them.",
    "yuki": "Illustrator. Tea first \N{TEACUP WITHOUT HANDLE}",
    "noor": "I write in two directions - نور",
    "henrik": "Retired lighthouse keeper. Still awake at night.",
    "ana-maria": "Runs a cinema with one screen and two hundred seats.",
    "priya": "Maths teacher. Ask me about triangles.",
    "oskar": "",
}

POSTS = (
    ("susan", "The first tomatoes are in. All three of them."),
    ("david", "Could I make her bicycle quieter, she asked. It was the squirrel in the basket."),
    ("mary.okafor", "Pressure is falling nicely. If you have laundry outside, this is about you."),
    ("john", "Rye with caraway today. The caraway is from the market, the rye from the neighbour."),
    ("leila_h", "Measured twice, cut once, and it was still four millimetres short."),
    ("tomasz", "The 7:42 left at 7:42. I have a photograph."),
    ("yuki", "Drew forty birds. Kept one. It is a good bird, though \N{BIRD}"),
    ("noor", "Coffee with cardamom, and a page of the new story. صباح الخير!"),
    ("henrik", "Fog again. It used to be work, now it is a view."),
    ("ana-maria", "Tonight: a silent film, with the old piano. It has been tuned, mostly."),
    ("priya", "A pupil proved something today that I had only ever believed."),
    ("susan", "The cello teacher says I have \"a very personal sound\"."),
    ("john", "To whoever left the kind note under the door: the apple cake is named after you now."),
    ("david", "Chains want oil, not sympathy. Neighbours want both."),
    ("leila_h", "The bird house has its first tenant. No rent, but she sings."),
    ("mary.okafor", "Told you."),
    ("tomasz", "Overheard on platform 3: \"It isn't late, it is early for tomorrow.\""),
    ("yuki", "New brushes. Do not talk to me until Thursday."),
    ("henrik", "Two ships greeted each other at dawn, long and short. I answered with the kettle."),
    ("ana-maria", "Eleven people in two hundred seats, and all of them stayed for the credits."),
    ("priya", "Homework for everybody:\nfind something round,\nmeasure it,\nand tell me pi."),
    ("noor", "Finished the story. It ends where it began, but from the other side."),
    ("susan", "Finished a book at two in the morning. No regrets before the alarm."),
    ("john", "Sourdough day. The starter is older than my apprentice."),
    ("david", "Found a 1962 dynamo in a box of \"rubbish\". It still lights up, and so do I."),
    ("mary.okafor", "Clear skies tonight from eleven. Look up for the Leonids."),
    ("oskar", "hello?"),
    ("yuki", "@oskar hello!"),
    ("tomasz", "Drew a map of all the benches at the station. There are nine. One is warm."),
    ("priya", "3.2, 3.1, 3.15 and one \"about three\". I am proud of you all."),
)  # fmt: skip


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
        await session.execute(insert(Post), _post_rows(ids, rng, now))
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


def _post_rows(ids: dict[str, int], rng: random.Random, now: datetime) -> list[dict[str, Any]]:
    """Return rows for the posts, the oldest first, from days to minutes ago."""
    moment, rows = now, []
    for name, body in reversed(POSTS):
        moment -= timedelta(minutes=rng.randrange(12, 480), seconds=rng.randrange(60))
        rows.append({"user_id": ids[name], "body": body, "timestamp": moment})
    return rows[::-1]


def _follow_rows(ids: Sequence[int], rng: random.Random) -> list[dict[str, int]]:
    """Return rows for the follows: everyone follows three to seven others."""
    return [
        {"follower_id": follower, "followed_id": followed}
        for follower in ids
        for followed in rng.sample([other for other in ids if other != follower], rng.randrange(3, 8))
    ]
