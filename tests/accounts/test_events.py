"""Logins, failures and resets are in the log, with who and from where, and nothing that was typed."""

from __future__ import annotations

import logging

import pytest
from quart import Quart

from app.accounts import tokens
from tests.factories import PASSWORD, make_user
from tests.faults.leavers import version
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


async def test_what_happens_to_an_account_is_logged(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
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
    told = [line.getMessage() for line in caplog.records if line.name == "app.events"]
    assert [line.split()[0] for line in told] == [
        "event=login_failed",
        "event=reset_asked",
        "event=password_reset",
        "event=login",
        "event=password_changed",
        "event=logout",
    ]
    assert all("peer=" in line for line in told)
    assert all(f"user={user_id} " in f"{line} " for line in told[2:])
    for secret in ("susan", "horse", link):
        assert secret not in "".join(told)
