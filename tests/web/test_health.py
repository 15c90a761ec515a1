"""`/healthz` and `/readyz`: cheap, for any host, and silent about the outbox."""

from __future__ import annotations

import asyncio

import pytest
from quart import Quart
from sqlalchemy import event

from app.migrations import run as migrations
from tests.clients import Visitor
from tests.inspection import database_of

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_checks_answer_any_host(app: Quart, path: str) -> None:
    response = await app.test_client().get(path, headers={"Host": "10.0.0.7:8000"})
    assert response.status_code == 200
    assert await response.get_json() == {"status": "ok"}


async def test_concurrent_readiness_checks_share_one_statement(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    engine = database_of(app).reader.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    pages = await asyncio.gather(*(Visitor(app).get("/readyz") for _ in range(20)))
    assert {page.status for page in pages} == {200}
    assert (await Visitor(app).get("/readyz")).status == 200
    assert len(statements) == 1
    monkeypatch.setattr("app.web.health.CACHE_SECONDS", 0.0)
    await Visitor(app).get("/readyz")
    assert len(statements) == 2


async def test_an_outdated_schema_is_not_ready(app: Quart) -> None:
    await migrations.downgrade(database_of(app), "ae346256b650")
    page = await Visitor(app).get("/readyz")
    assert page.status == 503
    assert "microblog db upgrade" in page.text
    assert (await Visitor(app).get("/healthz")).status == 200
    await migrations.upgrade(database_of(app))
