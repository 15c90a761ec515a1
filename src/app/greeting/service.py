"""What greeting does: it remembers names, and tells the administrator of new ones."""

from __future__ import annotations

from app.accounts import emails
from app.database import insert_into, writing
from app.greeting.models import Greeted


async def greet(name: str) -> bool:
    """Return whether `name` was here before; a new one is stored with the mail that tells of it.

    Of two with one new name at the same instant the second finds it known.
    """
    async with writing() as session:
        stored = await session.scalar(
            insert_into(session, Greeted)
            .values(name=name)
            .on_conflict_do_nothing()
            .returning(Greeted.id)
        )
        if stored is not None:
            await emails.announce_new_user(session, name)
    return stored is None
