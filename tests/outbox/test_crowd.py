"""Finding due rows among very many uses the indexes and reads few rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import insert, select

from app.database import writing
from app.outbox import claims
from app.outbox.models import Delivery, Priority, State
from tests.inspection import database_of
from tests.outbox.site import post


def now() -> datetime:
    return datetime.now(UTC)


async def fill(count: int, **values: Any) -> None:
    at = now()
    row = {
        "kind": "bulk",
        "message_id": "<x@example.com>",
        "priority": Priority.LOW,
        "state": State.QUEUED,
        "attempts": 0,
        "in_doubt": False,
        "created_at": at,
        "due_at": at,
        "expires_at": at + timedelta(days=5),
    }
    async with writing() as session:
        for _ in range(count // 2000):
            await session.execute(insert(Delivery), [row | values] * 2000)


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes of a PostgreSQL plan that read the outbox."""
    own = [plan] if plan.get("Relation Name") == "outbox" and "Scan" in plan["Node Type"] else []
    return own + [scan for inner in plan.get("Plans", []) for scan in scans(inner)]


@pytest.mark.parametrize("database_kind", ["postgresql"])
@pytest.mark.parametrize("priority", [Priority.LOW, Priority.RESET])
@pytest.mark.parametrize("hours", [0, 1])
async def test_postgresql_reads_few_rows_of_a_crowd(app: Quart, hours: int, priority: Priority) -> None:
    """Neither a crowd of waiting rows nor one that is due later is walked through."""
    await fill(20_000, priority=priority, due_at=now() + timedelta(hours=hours))
    await post("urgent")
    database = database_of(app)
    async with database.reader.connect() as connection:
        await connection.exec_driver_sql("ANALYZE outbox")
        due = str(
            select(claims.DUE.c.id)
            .params(now_=now(), total=8, bulk=7)
            .compile(connection.sync_engine, compile_kwargs={"literal_binds": True})
        )
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) "
        plan = (await connection.exec_driver_sql(explain + due)).scalar_one()
    read = [scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in scans(plan[0]["Plan"])]
    assert len(read) >= len(Priority)
    assert sum(read) <= 40


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_sqlite_finds_due_mail_by_the_index(app: Quart) -> None:
    async with writing() as session:
        connection = await session.connection()
        compiled = claims.CLAIM.compile(dialect=connection.dialect)
        explained = await connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {compiled}", tuple("1" for _ in compiled.positiontup or ())
        )
        plans = [row.detail for row in explained]
    searches = [line for line in plans if "outbox" in line]
    by_index = [line for line in searches if "ix_outbox_due (priority=? AND due_at<?)" in line]
    assert len(by_index) == len(Priority)
    assert not [line for line in searches if "SCAN" in line]
