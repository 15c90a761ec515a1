"""Sessions end when they are idle, and stay while they are used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import select, update

from app.accounts.models import LoginSession
from app.database import reading, sqlite, writing
from tests.clients import Visitor
from tests.factories import logged_in, make_user

IDLE = timedelta(seconds=60)


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"SESSION_IDLE_SECONDS": "60", "REMEMBER_SECONDS": "60"}


async def ends_at() -> datetime:
    async with reading() as connection:
        found: datetime = (await connection.execute(select(LoginSession.expires_at))).scalar_one()
    return found


@pytest.mark.parametrize("remember", [{}, {"remember_me": "y"}])
@pytest.mark.parametrize(("since", "extended"), [(14, False), (16, True), (45, True)])
async def test_a_session_in_use_is_extended_long_before_it_ends(
    app: Quart, remember: dict[str, str], since: int, extended: bool
) -> None:
    await make_user("susan")
    visitor = Visitor(app)
    await visitor.log_in("susan", **remember)
    seen = datetime.now(UTC) - timedelta(seconds=since)
    async with writing() as session:
        await session.execute(update(LoginSession).values(seen_at=seen, expires_at=seen + IDLE))
    assert (await visitor.get("/index")).status == 200
    await asyncio.gather(*app.background_tasks)
    assert (await ends_at() > seen + IDLE) == extended


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_last_seen_is_not_updated_while_the_file_is_locked(
    app: Quart, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor, _ = await logged_in(app, "susan")
    seen = datetime.now(UTC) - timedelta(seconds=45)
    async with writing() as session:
        await session.execute(update(LoginSession).values(seen_at=seen))
    caplog.set_level(logging.DEBUG, logger="app")
    caplog.clear()
    file = sqlite3.connect(tmp_path / "microblog.db")
    with contextlib.closing(file):
        file.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(sqlite, "WAIT_SECONDS", sqlite.TURN_SECONDS)  # it will not get the lock anyway
        assert (await visitor.get("/index")).status == 200
        await asyncio.gather(*app.background_tasks, return_exceptions=True)
    lines = [record for record in caplog.records if "last_seen" in record.getMessage()]
    assert [record.levelname for record in lines] == ["DEBUG"]
    assert lines[0].exc_info is None
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []
