"""A GET, HEAD or OPTIONS changes nothing, whoever asks and whatever the address."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select

from app.accounts import tokens
from app.accounts.models import User
from app.database import Base, reading, writing
from tests.clients import Visitor
from tests.factories import logged_in, make_follow, make_post, make_user

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


async def everything() -> dict[str, list[Any]]:
    async with reading() as connection:
        return {
            table.name: [tuple(row) for row in await connection.execute(select(table))]
            for table in Base.metadata.sorted_tables
        }


async def good_token(purpose: str, **more: Any) -> str:
    async with writing() as session:
        user = (await session.scalars(select(User).where(User.username == "susan"))).one()
        return tokens.mint(purpose, user.id, user.credentials_version, expires_in=600, **more)


async def test_reading_changes_nothing(app: Quart) -> None:
    visitor, user_id = await logged_in(app, "susan")
    other_id = await make_user("david")
    await make_follow(user_id, other_id)
    await make_post(user_id, "said")
    links = {
        "/reset_password/<token>": await good_token(tokens.RESET),
        "/change_email/<token>": await good_token(tokens.CHANGE_EMAIL, address="new@example.com"),
    }
    before = await everything()
    rules = [rule for rule in app.url_map.iter_rules() if "<name>" not in rule.rule]
    assert len(rules) > 25
    for rule in rules:
        path = rule.rule.replace("<token>", links.get(rule.rule, "x"))
        path = path.replace("<path:username>", "david").replace("<username>", "david")
        for who in (visitor, Visitor(app)):
            for method in ("GET", "HEAD", "OPTIONS"):
                response = await who.client.open(path, method=method)
                assert response.status_code < 500 or path == "/readyz", path
    assert await everything() == before
