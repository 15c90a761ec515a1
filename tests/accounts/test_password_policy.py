"""Which passwords people may choose."""

from __future__ import annotations

import pytest
from quart import Quart
from sqlalchemy import select

from app.accounts.forms import PASSWORD_IS_NAME, PASSWORD_TOO_COMMON
from app.accounts.models import User
from app.database import writing
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, count, logged_in


async def register(app: Quart, password: str) -> tuple[Visitor, Page]:
    visitor = Visitor(app)
    return visitor, await visitor.register("susan", password)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("password", ["password123", "PassWord123", "12345678", "qwertyuiop"])
async def test_a_common_password_is_refused(app: Quart, password: str) -> None:
    _, page = await register(app, password)
    assert page.errors("password") == [PASSWORD_TOO_COMMON]
    assert await count(User) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_name_or_address_is_refused_as_a_password(app: Quart) -> None:
    visitor = Visitor(app)
    for username, password in (("susan.miller", "Susan.Miller"), ("sue", "sue@example.com")):
        page = await visitor.register(username, password)
        assert page.errors("password") == [PASSWORD_IS_NAME]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("password", ["Susan.Miller", "SUSAN.miller@example.com"])
async def test_a_password_cannot_be_changed_to_the_name_or_address(app: Quart, password: str) -> None:
    visitor, _ = await logged_in(app, "susan.miller")
    chosen = {"password": password, "password2": password}
    page = await visitor.submit("/change_password", current=PASSWORD, **chosen)
    assert page.errors("password") == [PASSWORD_IS_NAME]
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
    link = f"/reset_password/{user.get_reset_password_token()}"
    assert (await visitor.submit(link, **chosen)).errors("password") == [PASSWORD_IS_NAME]
    assert (await visitor.get(link)).status == 200
    assert (await Visitor(app).log_in("susan.miller")).location == "/index"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_minimum_length_is_a_setting(app: Quart) -> None:
    app.config["PASSWORD_MIN_LENGTH"] = 4
    visitor, page = await register(app, "1234")
    assert page.errors("password") == [PASSWORD_TOO_COMMON]
    page = await visitor.register("susan", "z8q?")
    assert page.location == "/login"


@pytest.mark.parametrize(
    "password",
    ["x" * 128 + "y" * 128, " spaces are kept  ", "пароль, который никто", "a\0b\nc\td e f", "🐴🔋📎 staple"],
)  # fmt: skip
async def test_passwords_are_not_trimmed_or_cut(app: Quart, password: str) -> None:
    visitor, page = await register(app, password)
    assert page.location == "/login", page.text
    for other in {password[:-1], password.strip(), password.split("\0")[0]} - {password}:
        page = await visitor.log_in("susan", other)
        assert page.location is None
    assert (await visitor.log_in("susan", password)).location == "/index"
