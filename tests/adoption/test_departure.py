"""People of an old Microblog file can leave: its tables do not cascade by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from quart import Quart

from tests.adoption.old_files import EDITIONS, PASSWORD, make_old_file, rows
from tests.clients import Visitor


@pytest.fixture(params=sorted(EDITIONS))
def old_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_old_file(tmp_path / "app.db", request.param)


@pytest.fixture
def database_url(old_file: Path) -> str:
    return f"sqlite:///{old_file}"


async def test_who_leaves_an_adopted_site_takes_everything_along(
    adopted: Quart, old_file: Path
) -> None:
    [(user_id,)] = rows(old_file, "SELECT id FROM user WHERE username = 'susan'")
    own = (
        f"SELECT 1 FROM post WHERE user_id = {user_id}",
        f"SELECT 1 FROM followers WHERE {user_id} IN (follower_id, followed_id)",
    )
    assert all(rows(old_file, statement) for statement in own)
    others = len(rows(old_file, "SELECT 1 FROM user"))
    visitor = Visitor(adopted)
    await visitor.log_in("susan", PASSWORD)
    page = await visitor.submit("/delete_account", current=PASSWORD, sure="y")
    assert page.location == "/login"
    assert not any(rows(old_file, statement) for statement in own)
    assert len(rows(old_file, "SELECT 1 FROM user")) == others - 1
    assert rows(old_file, "PRAGMA foreign_key_check") == []
    other = Visitor(adopted)
    assert (await other.log_in("david", PASSWORD)).location == "/index"
    assert (await other.get("/explore")).status == 200
