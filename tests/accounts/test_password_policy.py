"""Which passwords people may choose."""

from __future__ import annotations

import pytest
from quart import Quart
from sqlalchemy import select

from app.accounts.models import User
from app.accounts.password_policy import weakness
from app.database import writing
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, count, logged_in


async def register(app: Quart, password: str) -> tuple[Visitor, Page]:
    visitor = Visitor(app)
    return visitor, await visitor.register("susan", password)


TOO_COMMON = "This password is too common. Please choose another one."
REPETITION = "This password repeats a few characters. Please choose another one."
SEQUENCE = "This password is a sequence, like 12345 or qwerty. Please choose another one."
DATE = "This password is a date. Please choose another one."
SITE_NAME = "Your password cannot be the name of this site, with or without digits."
OWN_NAME = "Your password cannot be your username or email address, with or without digits."


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("PassWord123", TOO_COMMON),
        ("jennifer", TOO_COMMON),
        ("administrator", TOO_COMMON),
        ("aaaaaaaa", REPETITION),
        ("987654321", SEQUENCE),
        ("september", DATE),
        ("Microblog2026", SITE_NAME),
        ("1susan@example.com", OWN_NAME),
    ],
)
async def test_a_weak_password_is_refused_with_the_reason(app: Quart, password: str, reason: str) -> None:
    _, page = await register(app, password)
    assert page.errors("password") == [reason]
    assert await count(User) == 0


@pytest.mark.parametrize(
    ("reason", "passwords"),
    [
        (TOO_COMMON, "password123 iloveyou1 michelle secretsecret jenniferjennifer"),
        (REPETITION, "88888888 hahahaha abcabcab 12341234 ÄÄÄÄÄÄÄÄ !!!!!!!!"),
        (SEQUENCE, "12345678 abcdefgh HGFEDCBA qwertyuiop lkjhgfdsa qwer1234 1qaz2wsx aabbccdd йцукенгш абвгдежз !@#$%^&*"),
        (DATE, "12.05.1984 1984-05-12 05/12/1984 19840512 120584 September2024 31december 2024-march summer2025"),
        (SITE_NAME, "microblog MICROBLOG 12microblog! microblogmicroblog"),
        (OWN_NAME, "susan.miller Susan.Miller84 sue@example.com 1sue@example.com! 99sue99 susan.millersusan.miller"),
    ],
)  # fmt: skip
def test_each_kind_of_weak_password_has_its_reason(reason: str, passwords: str) -> None:
    reasons = {
        password: weakness(password, "susan.miller", "sue@example.com") for password in passwords.split()
    }
    assert reasons == dict.fromkeys(reasons, reason)


@pytest.mark.parametrize(
    "password",
    ["correct horse", "weekend in may", "tr0ub4dor&3", "9f8a7c6e", "my microblog", "31415926x", "susan and miller", "abcd efgi"],
)  # fmt: skip
def test_a_password_that_only_contains_such_parts_is_accepted(password: str) -> None:
    assert weakness(password, "susan.miller", "sue@example.com") is None


def test_the_longest_passwords_are_judged_too() -> None:
    assert weakness("x" * 256) == REPETITION
    assert weakness("x" * 128 + "y" * 128) == SEQUENCE
    assert weakness(("correct horse" * 20)[:256]) is None


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_name_or_address_is_refused_as_a_password(app: Quart) -> None:
    visitor = Visitor(app)
    for username, password in (("susan.miller", "Susan.Miller"), ("sue", "sue@example.com")):
        page = await visitor.register(username, password)
        assert page.errors("password") == [OWN_NAME]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("password", ["Susan.Miller", "SUSAN.miller@example.com"])
async def test_a_password_cannot_be_changed_to_the_name_or_address(app: Quart, password: str) -> None:
    visitor, _ = await logged_in(app, "susan.miller")
    chosen = {"password": password, "password2": password}
    page = await visitor.submit("/change_password", current=PASSWORD, **chosen)
    assert page.errors("password") == [OWN_NAME]
    async with writing() as session:
        user = (await session.scalars(select(User))).one()
    link = f"/reset_password/{user.get_reset_password_token()}"
    assert (await visitor.submit(link, **chosen)).errors("password") == [OWN_NAME]
    assert (await visitor.get(link)).status == 200
    assert (await Visitor(app).log_in("susan.miller")).location == "/index"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_minimum_length_is_a_setting(app: Quart) -> None:
    app.config["PASSWORD_MIN_LENGTH"] = 4
    visitor, page = await register(app, "1234")
    assert page.errors("password") == [SEQUENCE]
    page = await visitor.register("susan", "z8q?")
    assert page.location == "/login"


@pytest.mark.parametrize(
    "password",
    [("correct horse, " * 16)[:256], " spaces are kept  ", "пароль, который никто", "a\0b\nc\td e f", "🐴🔋📎 staple"],
)  # fmt: skip
async def test_passwords_are_not_trimmed_or_cut(app: Quart, password: str) -> None:
    visitor, page = await register(app, password)
    assert page.location == "/login", page.text
    for other in {password[:-1], password.strip(), password.split("\0")[0]} - {password}:
        page = await visitor.log_in("susan", other)
        assert page.location is None
    assert (await visitor.log_in("susan", password)).location == "/index"
