"""Addresses in old files that today's rules would refuse."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from quart import Quart
from sqlalchemy import select

from app import mail, outbox
from app.accounts.models import User
from app.database import reading
from app.email import send_password_reset_email
from app.migrations import adoption
from tests.adoption.old_files import PASSWORD, PBKDF2_HASH, make_old_file
from tests.clients import Visitor
from tests.inspection import link_to

REACHED = ("root@company.local", "odd..dots@example.com", "me@localhost")
NOT_REACHED = ("a b@example.com", "a@b@example.com", "nowhere", "two,of@example.com", "Me <me@a.org>")


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    path = make_old_file(tmp_path / "app.db", "2018")
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO user (id, username, email, password_hash) VALUES (?, ?, ?, ?)",
            [
                (30 + number, f"odd{number}", address, PBKDF2_HASH)
                for number, address in enumerate(REACHED + NOT_REACHED)
            ],
        )
        connection.commit()
    return f"sqlite:///{path}"


async def stored(user_id: int) -> User:
    async with reading() as connection:
        found = await connection.execute(select(User.__table__).where(User.id == user_id))
        return User(**found.one()._mapping)


async def test_accounts_without_a_usable_address_are_listed_with_advice(adopted: Quart) -> None:
    async with reading() as connection:
        lines = [line for line in await adoption.findings(connection) if "'odd" in line]
    assert lines == [
        f"Account {number} ('odd{number - 30}'): no reset link can be sent to its address "
        f"({address!r}); the owner can change it at /change_email."
        for number, address in enumerate(NOT_REACHED, 30 + len(REACHED))
    ]


@pytest.mark.parametrize("number", range(len(REACHED)))
async def test_accounts_with_a_usable_address_get_reset_mails_and_can_be_edited(
    adopted: Quart, number: int
) -> None:
    visitor = Visitor(adopted)
    assert (await visitor.log_in(f"odd{number}", PASSWORD)).location == "/index"
    page = await visitor.submit("/edit_profile", username=f"even{number}", about_me="still me")
    assert page.location == "/edit_profile"
    with mail.record_messages() as sent:
        await send_password_reset_email(await stored(30 + number))
        await outbox.drain()
    assert [message.recipients for message in sent] == [[REACHED[number]]]


@pytest.mark.parametrize("number", range(len(REACHED + NOT_REACHED)))
async def test_every_account_can_change_its_address(adopted: Quart, number: int) -> None:
    visitor = Visitor(adopted)
    await visitor.log_in(f"odd{number}", PASSWORD)
    await visitor.submit("/change_email", email="new@example.com", current=PASSWORD)
    with mail.record_messages() as sent:
        await outbox.drain()
    [text] = [message.body for message in sent if message.recipients == ["new@example.com"]]
    link = link_to("change_email", text)
    assert (await visitor.submit(link)).location == "/account"
    assert (await stored(30 + number)).email == "new@example.com"
