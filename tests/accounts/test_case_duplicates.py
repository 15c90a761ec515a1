"""Names and addresses in old databases that differ only by case keep working."""

from __future__ import annotations

import pytest
from quart import Quart
from sqlalchemy import select, update

from app import mail, outbox
from app.accounts import service, tokens
from app.accounts.models import User
from app.database import reading, writing
from tests.clients import Page, Visitor
from tests.factories import PASSWORD, logged_in, make_user


async def make_twin(username: str, email: str) -> int:
    """Store an account as an upgrade leaves one whose folded name and address an older one has."""
    twin_id = await make_user(f"twin-of-{username}")
    async with writing() as session:
        await session.execute(
            update(User)
            .where(User.id == twin_id)
            .values(username=username, email=email, username_canonical=None, email_canonical=None)
        )
    return twin_id


@pytest.fixture
async def susan(app: Quart) -> Visitor:
    """The oldest of three whose names and addresses are the same but for their case."""
    visitor, _ = await logged_in(app, "susan")
    await make_twin("Susan", "Susan@example.com")
    await make_twin("sUSAN", "sUSAN@example.com")
    return visitor


async def folded(name: str) -> tuple[str | None, str | None]:
    async with reading() as connection:
        found = await connection.execute(
            select(User.username_canonical, User.email_canonical).where(User.username == name)
        )
        row = found.one()
        return row.username_canonical, row.email_canonical


async def register(app: Quart, username: str, email: str) -> Page:
    return await Visitor(app).submit(
        "/register", username=username, email=email, password=PASSWORD, password2=PASSWORD
    )


async def test_a_released_name_passes_to_the_account_that_differs_only_by_case(
    app: Quart, susan: Visitor
) -> None:
    assert (await susan.submit("/edit_profile", username="sue", about_me="")).status == 302
    assert await folded("Susan") == ("susan", None)
    assert await folded("sUSAN") == (None, None)
    page = await register(app, "SUSAN", "new@example.com")
    assert page.errors("username") == ["Please use a different username."]
    assert (await Visitor(app).log_in("SUSAN", PASSWORD)).location == "/index"
    assert (await susan.get("/user/SUSAN")).title == "Susan - Microblog"


async def test_changing_the_case_of_a_name_does_not_release_it(app: Quart, susan: Visitor) -> None:
    assert (await susan.submit("/edit_profile", username="SUSAN", about_me="")).status == 302
    assert await folded("SUSAN") == ("susan", "susan@example.com")
    assert await folded("Susan") == (None, None)


async def test_a_released_address_passes_to_the_account_that_differs_only_by_case(
    app: Quart, susan: Visitor
) -> None:
    async with writing() as session:
        user = (await session.scalars(select(User).where(User.username == "susan"))).one()
        token = tokens.mint(
            tokens.CHANGE_EMAIL, user.id, user.credentials_version, expires_in=60, address="sue@example.com"
        )
    await service.change_email(token, keep_session=0)
    assert await folded("Susan") == (None, "susan@example.com")
    page = await register(app, "newcomer", "SUSAN@example.com")
    assert page.errors("email") == ["Please use a different email address."]
    with mail.record_messages() as sent:
        await Visitor(app).submit("/reset_password_request", email="SUSAN@EXAMPLE.com")
        await outbox.drain()
    assert ["Susan@example.com"] in [message.recipients for message in sent]


async def test_deleting_an_account_releases_its_name_and_address(app: Quart, susan: Visitor) -> None:
    page = await susan.submit("/delete_account", current=PASSWORD, sure="y")
    assert page.location == "/login"
    assert await folded("Susan") == ("susan", "susan@example.com")
    assert await folded("sUSAN") == (None, None)
    page = await register(app, "SUSAN", "SUSAN@example.com")
    assert page.errors("username") == ["Please use a different username."]
    assert page.errors("email") == ["Please use a different email address."]
