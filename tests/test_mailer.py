"""Mails are rendered from their stored parameters, including those stored by another version."""

from __future__ import annotations

from typing import Any

import pytest
from quart import Quart
from sqlalchemy import update

from app import mail, outbox
from app.accounts.models import Registration, User
from app.database import writing
from tests.factories import NOON, make_user

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"ADMINS": "root@example.com", "FLASKY_ADMIN": "boss@example.com"}


REPORT = {
    "error": "KeyError",
    "count": 2,
    "route": "GET /index",
    "request_id": "abc",
    "traceback": "…",
    "first_seen": "2026-11-20 12:00:00 UTC",
    "last_seen": "2026-11-20 12:00:00 UTC",
}
STORED: dict[str, tuple[dict[str, Any], str]] = {
    "reset_password": ({"address": "SUSAN@example.com"}, "Reset Your Password"),
    "password_changed": ({"user_id": 1}, "Your password was changed"),
    "new_user": ({"username": "david"}, "New User"),
    "new_login": (
        {"user_id": 1, "device": "Firefox on Linux", "at": "2026-11-20T12:00+00:00"},
        "New login to your account",
    ),
    "confirm_registration": ({"registration_id": 1}, "Confirm your address"),
    "change_email": ({"user_id": 1, "version": 0, "address": "new@example.com"}, "Confirm your new address"),
    "email_change_asked": ({"user_id": 1, "address": "new@example.com"}, "Email address change requested"),
    "email_changed": ({"user_id": 1, "address": "old@example.com"}, "email address was changed"),
    "account_deleted": ({"username": "susan", "address": "susan@example.com"}, "Your account was deleted"),
    "your_data": ({"user_id": 1}, "Your data"),
    "welcome": ({"user_id": 1}, "Welcome to Microblog"),
    "error_report": (REPORT, "Failure"),
}
"""The parameters of version 0.1.0, which may wait in people's databases, and part of each subject."""


async def deliver(kind: str, params: dict[str, Any]) -> list[str]:
    """Store a mail as a row holds it, and return the subjects of what goes out."""
    async with writing() as session:
        await outbox.post(session, kind, **params)
    with mail.record_messages() as sent:
        await outbox.drain()
    return [str(message.subject) for message in sent]


@pytest.mark.parametrize("kind", STORED)
async def test_stored_parameters_stay_readable(app: Quart, kind: str) -> None:
    params, subject = STORED[kind]
    assert await make_user("susan") == 1
    async with writing() as session:
        await session.execute(update(User).values(credentials_version=0, email_confirmed=True))
        session.add(
            Registration(
                username="david",
                email="david@example.com",
                password_hash="x",
                expires_at=NOON.replace(year=9000),
            )
        )
    [sent] = await deliver(kind, params)
    assert subject in sent
    assert set(STORED) | {"message"} >= set(app.extensions["outbox"].kinds)


async def test_parameters_of_a_newer_version_are_ignored(app: Quart) -> None:
    assert await deliver("new_user", {"username": "david", "color": "blue"}) == ["[Microblog] New User"]


async def test_a_row_without_a_needed_parameter_fails_alone(app: Quart) -> None:
    assert await deliver("password_changed", {}) == []
    assert (await outbox.stats())["states"]["failed"] == 1
