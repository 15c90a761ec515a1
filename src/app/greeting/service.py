"""What greeting does: it remembers names, and tells the administrator of new ones."""

from __future__ import annotations

from quart import current_app
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app import outbox
from app.database import writing
from app.greeting.models import Greeted


async def greet(name: str) -> bool:
    """Return whether `name` was here before; a new one is stored with the mail that tells of it.

    Of two with one new name at the same instant the second finds it known.
    """
    async with writing() as session:
        stored = await session.scalar(
            _insert(session).values(name=name).on_conflict_do_nothing().returning(Greeted.id)
        )
        if stored is not None and current_app.config["FLASKY_ADMIN"]:
            await outbox.post(session, "new_user", username=name)
    return stored is None


def _insert(session: AsyncSession) -> sqlite.Insert | postgresql.Insert:
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(Greeted)
    return postgresql.insert(Greeted)
