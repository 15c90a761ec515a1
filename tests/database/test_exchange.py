"""SQLite by one exchange a statement: what SQLAlchemy sees of it is what it saw before."""

from __future__ import annotations

import pytest
from quart import Quart
from sqlalchemy import CursorResult, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from app.accounts.models import User
from app.database import reading, writing
from app.database.exchange import OneExchangeConnection

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
PEOPLE = [{"username": f"p{n}", "email": f"p{n}@example.com"} for n in range(5)]


async def test_rows_counts_and_new_ids_come_back(app: Quart) -> None:
    async with writing() as session:
        await session.execute(insert(User), PEOPLE)
        changed = await session.execute(update(User).where(User.id > 2).values(about_me="x"))
        assert isinstance(changed, CursorResult)
        assert changed.rowcount == 3
        returned = await session.execute(
            update(User).where(User.id == 1).values(about_me="y").returning(User.id, User.about_me)
        )
        assert returned.all() == [(1, "y")]
        user = User(username="last", email="last@example.com")
        session.add(user)
        await session.flush()
        assert user.id == 6
    async with reading() as connection:
        found = await connection.execute(select(User.username).order_by(User.id))
        assert [row.username for row in found] == ["p0", "p1", "p2", "p3", "p4", "last"]
        raw = await connection.get_raw_connection()
        assert isinstance(raw.dbapi_connection, OneExchangeConnection)


async def test_errors_are_those_of_sqlite(app: Quart) -> None:
    with pytest.raises(IntegrityError, match="UNIQUE constraint failed"):
        async with writing() as session:
            await session.execute(insert(User), [PEOPLE[0], PEOPLE[0]])
    async with reading() as connection:
        with pytest.raises(OperationalError, match="no such table"):
            await connection.execute(text("SELECT 1 FROM nowhere"))
        assert (await connection.execute(text("SELECT count(*) FROM user"))).scalar_one() == 0
