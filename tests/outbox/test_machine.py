"""A state machine driven by Hypothesis: couriers, leases and the clock against a model in memory."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from app import outbox
from app.cli.context import close_connections
from app.outbox.claims import Claim, claim_due
from app.outbox.models import Delivery, Priority
from app.outbox.policy import ClaimLimit, Event, Outcome, RetryTimes, decide
from app.outbox.transitions import expire
from app.outbox.writer import BatchWriter
from tests.conftest import _migrate
from tests.inspection import database_of, outbox_of
from tests.outbox.site import make_site

LEASE = 30.0
BACK = st.integers(0, 3)
T = TypeVar("T")


@dataclass
class Model:
    """What we believe of one row."""

    priority: int
    created_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    state: str = "queued"
    claim_id: str | None = None
    in_doubt: bool = False
    attempts: int = 0
    datas: int = 0

    def is_held_by(self, claim: Claim, now: datetime) -> bool:
        return self.claim_id == claim.claim_id and self.due_at is not None and self.due_at > now

    def is_due(self, now: datetime) -> bool:
        alive = self.expires_at is None or self.expires_at > now
        return self.due_at is not None and self.due_at <= now and alive


class Machine(RuleBasedStateMachine):
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "microblog.db"
        shutil.copyfile(self.template, path)
        self.loop = asyncio.new_event_loop()
        self.site = make_site({"TESTING": True, "DATABASE_URL": f"sqlite:///{path}"})
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        box = outbox_of(self.site)
        box.clock = lambda: self.now  # type: ignore[method-assign]
        self.writer = BatchWriter(box, most_sending=10_000)
        self.database = database_of(self.site)
        self.models: dict[int, Model] = {}
        self.claims: list[Claim] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def inside() -> T:
            async with self.site.app_context():
                return await work

        return self.loop.run_until_complete(inside())

    def teardown(self) -> None:
        self.run(close_connections(self.site))
        self.loop.close()
        self.folder.cleanup()

    @rule(kind=st.sampled_from(["urgent", "note", "bulk"]))
    def post(self, kind: str) -> None:
        async def work() -> outbox.Handle:
            async with self.database.writing() as session:
                return await outbox.post(session, kind, to="ann@example.com")

        [id_] = self.run(work()).ids
        priority = {"urgent": Priority.RESET, "note": Priority.NORMAL, "bulk": Priority.LOW}[kind]
        self.models[id_] = Model(priority, self.now, self.now, self.now + timedelta(days=5))

    @rule(seconds=st.sampled_from([1, 10, 31, 31, 31, 400, 3 * 86400]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(total=st.integers(1, 4), bulk=st.integers(0, 3))
    def take(self, total: int, bulk: int) -> None:
        async def work() -> list[Claim]:
            limit = ClaimLimit(total, min(total, bulk))
            async with self.database.writing() as session:
                return await claim_due(await session.connection(), limit, now=self.now, lease=LEASE)

        due = {id_: model for id_, model in self.models.items() if model.is_due(self.now)}
        resets = [id_ for id_, model in due.items() if model.priority == Priority.RESET]
        taken = self.run(work())
        expected = min(total, len(resets))
        expected += min(total - expected, bulk, len(due) - len(resets))
        assert len(taken) == expected
        assert sum(claim.id in resets for claim in taken) == min(total, len(resets))
        for claim in taken:
            model = due[claim.id]
            model.in_doubt = model.in_doubt or model.state == "sending"
            assert claim.in_doubt == model.in_doubt
            model.state, model.claim_id, model.due_at = "queued", claim.claim_id, claim.lease_end
        self.claims += taken

    def claim(self, back: int) -> Claim:
        """Return one of the latest claims, lost or not."""
        return self.claims[-1 - back % len(self.claims)]

    @precondition(lambda self: self.claims)
    @rule(back=BACK)
    def renew(self, back: int) -> None:
        claim = self.claim(back)
        model = self.models[claim.id]
        ours = model.is_held_by(claim, self.now)
        assert self.run(self.writer.renew([claim], LEASE)) == ([] if ours else [claim])
        if ours:
            model.due_at = self.now + timedelta(seconds=LEASE)

    @precondition(lambda self: self.claims)
    @rule(back=BACK)
    def begin_data(self, back: int) -> None:
        claim = self.claim(back)
        model = self.models[claim.id]
        may = model.is_held_by(claim, self.now) and model.state == "queued"
        assert self.run(self.writer.mark_sending(claim)) is may
        if may:
            model.state = "sending"
            model.datas += 1

    @precondition(lambda self: self.claims)
    @rule(back=BACK, event=st.sampled_from(Event), doubt=st.booleans())
    def settle(self, back: int, event: Event, doubt: bool) -> None:
        claim = self.claim(back)
        model = self.models[claim.id]
        settlement = decide(
            Outcome(event, 250, "words", doubt and model.state == "sending"),
            attempts=claim.attempts,
            in_doubt=claim.in_doubt,
            priority=claim.priority,
            times=RetryTimes(),
            jitter=0,
        )
        ours = model.is_held_by(claim, self.now)
        assert self.run(self.writer.settle(claim, settlement)) is ours
        if not ours:
            return
        if model.state == "sending" and not settlement.in_doubt and event is not Event.ACCEPTED:
            model.datas -= 1  # the server said no, or the dot was never sent
        model.state, model.claim_id = settlement.state, None
        model.in_doubt, model.attempts = settlement.in_doubt, settlement.attempts
        if settlement.wait is None:
            model.due_at = model.expires_at = None
        else:  # what need not wait keeps its place in line
            wait = timedelta(seconds=settlement.wait)
            model.due_at = self.now + wait if wait else model.created_at

    @rule()
    def expire(self) -> None:
        async def work() -> list[int]:
            async with self.database.writing() as session:
                return await expire(await session.connection(), now=self.now)

        late = {
            id_
            for id_, model in self.models.items()
            if model.expires_at is not None
            and model.expires_at <= self.now
            and (model.claim_id is None or (model.due_at is not None and model.due_at <= self.now))
        }
        assert set(self.run(work())) == late
        for id_ in late:
            model = self.models[id_]
            model.in_doubt = model.in_doubt or model.state == "sending"
            model.state, model.claim_id = "expired", None
            model.due_at = model.expires_at = None

    @invariant()
    def the_table_is_as_we_believe(self) -> None:
        async def work() -> list[Any]:
            async with self.database.reading() as connection:
                return list((await connection.execute(select(Delivery.__table__))).all())

        rows = {row.id: row for row in self.run(work())}
        assert rows.keys() == self.models.keys()
        for id_, model in self.models.items():
            row = rows[id_]
            found = (row.state, row.claim_id, row.in_doubt, row.attempts, row.due_at)
            believed = (model.state, model.claim_id, model.in_doubt, model.attempts, model.due_at)
            assert found == believed
            assert row.expires_at == model.expires_at

    @invariant()
    def only_what_is_in_doubt_can_arrive_twice(self) -> None:
        for model in self.models.values():
            assert model.datas <= 1 or model.in_doubt


@pytest.fixture
async def template(sqlite_template: Path) -> Path:
    if not sqlite_template.exists():
        await _migrate(f"sqlite:///{sqlite_template}")
    return sqlite_template


def test_claims_leases_and_the_clock(template: Path) -> None:
    Machine.template = template
    Machine.TestCase.settings = settings(
        max_examples=40,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    Machine.TestCase("runTest").runTest()
