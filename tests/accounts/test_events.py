"""Logins, failures and resets are logged with the account and the client, without user input."""

from __future__ import annotations

import logging

import pytest
from quart import Quart
from sqlalchemy import select

from app.accounts import tokens
from app.accounts.models import User
from app.database import reading
from tests.clients import Visitor
from tests.factories import PASSWORD, logged_in, make_user
from tests.faults.leavers import version

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the events told so far, and forget them."""
    told = [line.getMessage() for line in caplog.records if line.name == "app.events"]
    caplog.clear()
    return told


async def test_account_events_are_logged(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    user_id = await make_user("susan")
    visitor = Visitor(app)
    await visitor.log_in("susan", "wrong horse")
    await visitor.submit("/reset_password_request", email="susan@example.com")
    link = tokens.mint(tokens.RESET, user_id, await version(user_id), expires_in=60)
    new = {"password": "a new horse", "password2": "a new horse"}
    await visitor.submit(f"/reset_password/{link}", **new)
    await visitor.log_in("susan", "a new horse")
    changed = {"current": "a new horse", "password": PASSWORD, "password2": PASSWORD}
    await visitor.submit("/change_password", **changed)
    await visitor.submit("/logout", page="/logout")
    told = lines(caplog)
    assert [line.split()[0] for line in told] == [
        "event=login_failed",
        "event=reset_requested",
        "event=password_reset",
        "event=login",
        "event=password_changed",
        "event=logout",
    ]
    assert all("peer=" in line for line in told)
    assert all(f" user={user_id} peer=" in line for line in told if "reset_requested" not in line)
    for secret in ("susan", "horse", link):
        assert secret not in "".join(told)


async def test_a_failed_login_with_an_unknown_name_is_logged_without_an_id(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await Visitor(app).log_in("nobody")
    [told] = lines(caplog)
    assert told.startswith("event=login_failed peer=")


async def test_a_guest_who_logs_out_is_not_logged(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert (await Visitor(app).submit("/logout", page="/logout")).location == "/login"
    assert lines(caplog) == []


async def test_registering_is_logged_with_the_new_id(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Visitor(app).register("susan")
    async with reading() as connection:
        user_id = await connection.scalar(select(User.id))
    [told] = lines(caplog)
    assert told.startswith(f"event=registered user={user_id} peer=")


async def test_a_registration_is_logged_when_requested_and_when_confirmed(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app.config["CONFIRM_EMAIL"] = True
    visitor = Visitor(app)
    await visitor.register("susan")
    link = tokens.mint(tokens.CONFIRM_REGISTRATION, 1, expires_in=60)
    await visitor.submit(f"/confirm/{link}")
    await visitor.get(f"/confirm/{link}")
    asked, confirmed, refused = lines(caplog)
    assert asked.startswith("event=registration_requested peer=")
    assert confirmed.startswith("event=registered user=1 peer=")
    assert refused.startswith("event=registration_link_refused peer=")


async def test_a_change_of_address_is_logged_without_the_address(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    visitor, user_id = await logged_in(app, "susan")
    caplog.clear()
    await visitor.submit("/change_email", email="new@example.com", current="wrong horse")
    await visitor.submit("/change_email", email="new@example.com", current=PASSWORD)
    link = tokens.mint(
        tokens.CHANGE_EMAIL, user_id, await version(user_id), expires_in=60, address="new@example.com"
    )
    await visitor.submit(f"/change_email/{link}")
    await visitor.get(f"/change_email/{link}")
    told = lines(caplog)
    assert [line.rpartition(" peer=")[0] for line in told] == [
        f"event=wrong_password user={user_id}",
        f"event=email_change_requested user={user_id}",
        f"event=email_changed user={user_id}",
        "event=email_link_refused",
    ]
    assert "example.com" not in "".join(told)


async def test_a_refused_reset_link_and_a_deleted_account_are_logged(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    visitor, user_id = await logged_in(app, "susan")
    caplog.clear()
    await visitor.get("/reset_password/nonsense-of-mine")
    await visitor.submit("/delete_account", current=PASSWORD, sure="y")
    told = lines(caplog)
    assert [line.rpartition(" peer=")[0] for line in told] == [
        "event=reset_link_refused",
        f"event=account_deleted user={user_id}",
        f"event=logout user={user_id}",
    ]
    assert "nonsense" not in "".join(told)
