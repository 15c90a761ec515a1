"""The statement caches of connections to PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart
from sqlalchemy import Integer, bindparam, select, text

from app.accounts.models import User
from app.database import Query, fetch, reading, writing
from tests.factories import make_user

NAME = Query(select(User.username).where(User.id == bindparam("id", type_=Integer)))


@pytest.mark.parametrize("database_kind", ["postgresql"])
class TestNoPreparedStatements:
    """`prepared_statement_cache_size=0`, as PgBouncer needs it."""

    @pytest.fixture
    def config(self, config: dict[str, Any]) -> dict[str, Any]:
        url = config["DATABASE_URL"]
        separator = "&" if "?" in url else "?"
        return config | {"DATABASE_URL": f"{url}{separator}prepared_statement_cache_size=0"}

    async def test_no_connection_keeps_a_statement(self, app: Quart) -> None:
        user = await make_user("susan")
        listed = Query(select(text("name")).select_from(text("pg_prepared_statements")))
        for _ in range(3):
            assert await fetch(NAME, id=user) == [("susan",)]
        assert await fetch(listed) == []
        for block in (reading, writing):
            async with block() as connection:
                for _ in range(3):
                    await connection.execute(select(User).where(User.id == user))
                names = await connection.execute(
                    text("SELECT name FROM pg_prepared_statements WHERE name <> ''")
                )
                assert names.all() == []


@pytest.mark.parametrize("database_kind", ["postgresql"])
async def test_statements_are_prepared_by_default(app: Quart) -> None:
    user = await make_user("susan")
    await fetch(NAME, id=user)
    listed = Query(select(text("name")).select_from(text("pg_prepared_statements")))
    assert await fetch(listed) != []
