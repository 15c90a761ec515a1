"""Claims: each row is claimed once, and a lost claim changes nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from app.database import writing
from app.outbox.claims import Claim, claim_due
from app.outbox.models import Delivery
from app.outbox.policy import ClaimLimit, Event, Outcome, RetryTimes, Settlement, decide
from app.outbox.state import Outbox
from app.outbox.transitions import expire
from app.outbox.writer import BatchWriter
from app.settings import SettingsError
from tests.inspection import outbox_of
from tests.outbox.site import make_site, post, rows

LEASE = 30.0
SOON = timedelta(seconds=LEASE + 1)
PLENTY = ClaimLimit(100, 100)


def now() -> datetime:
    return datetime.now(UTC)


async def take(at: datetime, limit: ClaimLimit = PLENTY) -> list[Claim]:
    async with writing() as session:
        return await claim_due(await session.connection(), limit, now=at, lease=LEASE)


def writer_at(app: Quart, at: datetime) -> BatchWriter:
    box = outbox_of(app)
    box.clock = lambda: at  # type: ignore[method-assign]
    return BatchWriter(box, most_sending=100)


DEFERRED = decide(
    Outcome(Event.DEFERRED), attempts=0, in_doubt=False, priority=2, times=RetryTimes(), jitter=0
)


def sent(claim: Claim) -> Settlement:
    return decide(
        Outcome(Event.ACCEPTED, 250, "OK"),
        attempts=claim.attempts,
        in_doubt=claim.in_doubt,
        priority=claim.priority,
        times=RetryTimes(),
        jitter=0,
    )


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_leases_that_end_before_they_are_renewed_stop_the_start(config: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"OUTBOX_RENEW: 20 .* half of OUTBOX_LEASE"):
        make_site(config | {"OUTBOX_LEASE": 30, "OUTBOX_RENEW": 20})


async def test_a_claimed_mail_is_not_claimed_again_during_its_lease(app: Quart) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    assert await take(at + timedelta(seconds=LEASE - 1)) == []
    [other] = await take(at + SOON)
    assert (other.id, other.in_doubt) == (claim.id, False)
    assert other.claim_id != claim.claim_id


async def test_twenty_claimers_at_once_share_without_overlap(app: Quart) -> None:
    for _ in range(40):
        await post()
    at = now()
    batches = await asyncio.gather(*(take(at, ClaimLimit(3, 3)) for _ in range(20)))
    ids = [claim.id for batch in batches for claim in batch]
    assert len(ids) == len(set(ids))
    remaining = await take(at)
    assert len(ids) + len(remaining) == 40


async def test_a_renewed_lease_runs_longer(app: Quart, box: Outbox) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    later = at + timedelta(seconds=20)
    assert await writer_at(app, later).renew([claim], LEASE) == []
    assert await take(at + SOON) == []
    assert await take(later + SOON) != []


REFUSAL = {
    "sqlite": (
        "CREATE TABLE never (other INTEGER REFERENCES outbox(id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER refuse AFTER UPDATE OF due_at ON outbox BEGIN INSERT INTO never VALUES (-1); END",
    ),
    "postgresql": (
        "CREATE TABLE never (other BIGINT REFERENCES outbox(id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO never VALUES (-1); RETURN NEW; END'",
        "CREATE TRIGGER refuse AFTER UPDATE OF due_at ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
}
"""Makes every COMMIT fail of who changes when a mail is due."""


async def test_a_renewal_that_is_not_committed_lengthens_nothing(app: Quart, database_kind: str) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    async with writing() as session:
        for statement in REFUSAL[database_kind]:
            await session.execute(text(statement))
    later = at + timedelta(seconds=LEASE / 2)
    with pytest.raises(IntegrityError):
        await writer_at(app, later).renew([claim], LEASE)
    assert claim.lease_end == at + timedelta(seconds=LEASE)
    assert await rows("due_at") == [claim.lease_end]


async def test_a_lost_claim_cannot_be_renewed_marked_or_settled(app: Quart) -> None:
    await post()
    at = now()
    [old] = await take(at)
    [new] = await take(at + SOON)
    writer = writer_at(app, at + SOON)
    assert await writer.renew([old, new], LEASE) == [old]
    old.lease_end = at + 2 * SOON
    assert not await writer.mark_sending(old)
    assert not await writer.settle(old, sent(old))
    assert await rows("state", "claim_id") == [("queued", new.claim_id)]
    assert await writer.mark_sending(new)
    assert await writer.settle(new, sent(new))
    assert await rows("state") == ["sent"]


async def test_a_claim_past_its_lease_is_lost_even_if_nobody_else_claimed_it(app: Quart) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    writer = writer_at(app, at + SOON)
    assert await writer.renew([claim], LEASE) == [claim]
    assert not await writer.mark_sending(claim)
    assert not await writer.settle(claim, sent(claim))
    assert await rows("state", "claim_id") == [("queued", claim.claim_id)]


async def test_a_mail_left_in_sending_is_in_doubt_for_the_next_owner(app: Quart) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    assert await writer_at(app, at).mark_sending(claim)
    assert await rows("state") == ["sending"]
    [next_] = await take(at + SOON)
    assert next_.in_doubt
    assert next_.message_id == claim.message_id
    assert await rows("state", "in_doubt") == [("queued", True)]


async def test_a_claim_marks_its_row_as_sending_only_once(app: Quart) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    assert await writer_at(app, at).mark_sending(claim)
    assert not await writer_at(app, at).mark_sending(claim)


async def test_an_expired_row_is_not_claimed_and_a_held_one_not_expired(app: Quart) -> None:
    await post()
    await post()
    at = now()
    [held] = await take(at, ClaimLimit(1, 1))
    async with writing() as session:
        await session.execute(update(Delivery).values(expires_at=at + timedelta(seconds=1)))
    async with writing() as session:
        expired = await expire(await session.connection(), now=at + timedelta(seconds=2))
    assert len(expired) == 1
    assert held.id not in expired
    assert await take(at + SOON) == []
    async with writing() as session:
        assert await expire(await session.connection(), now=at + SOON) == [held.id]


async def test_a_fenced_row_that_expires_is_flagged(app: Quart) -> None:
    await post()
    at = now()
    [claim] = await take(at)
    await writer_at(app, at).mark_sending(claim)
    async with writing() as session:
        await session.execute(update(Delivery).values(expires_at=at))
    async with writing() as session:
        await expire(await session.connection(), now=at + SOON)
    assert await rows("state", "in_doubt") == [("expired", True)]


async def test_a_request_made_while_the_mail_is_sent_becomes_a_second_mail(app: Quart) -> None:
    await post(unique="k")
    at = now()
    [claim] = await take(at)
    await post(unique="k")
    assert len(await rows()) == 1
    await writer_at(app, at).mark_sending(claim)
    await post(unique="k")
    assert await rows("state", "unique_key") == [("sending", None), ("queued", "k")]
    assert await writer_at(app, at).settle(claim, DEFERRED)
    assert await rows("state", "unique_key") == [("skipped", None), ("queued", "k")]


async def test_a_request_made_while_the_mail_waits_again_adds_no_mail(app: Quart) -> None:
    await post(unique="k")
    at = now()
    [claim] = await take(at)
    writer = writer_at(app, at)
    await writer.mark_sending(claim)
    assert await writer.settle(claim, DEFERRED)
    await post(unique="k")
    [row] = await rows()
    assert (row.state, row.unique_key, row.attempts) == ("queued", "k", 1)
    assert row.due_at <= now()  # who asks anew does not wait for the old one's next attempt


async def test_a_new_request_after_a_mail_in_doubt_is_a_second_mail(app: Quart) -> None:
    await post(unique="k")
    at = now()
    [claim] = await take(at)
    writer = writer_at(app, at)
    await writer.mark_sending(claim)
    assert await writer.settle(claim, replace(DEFERRED, in_doubt=True))
    await post(unique="k")
    assert await rows("in_doubt", "unique_key") == [(True, None), (False, "k")]


async def test_who_has_claimed_what_is_asked_for_otherwise_loses_it(app: Quart) -> None:
    await post(unique="k", word="old")
    at = now()
    [claim] = await take(at)
    await post(unique="k", word="new")
    assert not await writer_at(app, at).mark_sending(claim)
    [again] = await take(now())
    assert again.params == {"to": "susan@example.com", "word": "new"}


async def test_many_settlements_at_once_share_a_commit(app: Quart) -> None:
    for _ in range(8):
        await post()
    at = now()
    taken = await take(at)
    writer = writer_at(app, at)
    assert all(await asyncio.gather(*map(writer.mark_sending, taken)))
    assert all(await asyncio.gather(*(writer.settle(claim, sent(claim)) for claim in taken)))
    assert writer.commits <= 4
    assert set(await rows("state")) == {"sent"}


async def test_capacity_reserved_for_resets_claims_only_resets(app: Quart) -> None:
    for kind in ("bulk", "note", "urgent", "urgent", "note"):
        await post(kind)
    at = now()
    assert [claim.kind for claim in await take(at, ClaimLimit(1, 0))] == ["urgent"]
    assert [claim.kind for claim in await take(at, ClaimLimit(3, 2))] == ["urgent", "note", "note"]
    assert [claim.kind for claim in await take(at, ClaimLimit(3, 2))] == ["bulk"]


async def test_why_a_mail_waits_is_known_even_when_it_is_let_go(app: Quart) -> None:
    await post()
    at = now()
    for outcome in (Outcome(Event.SERVER_DOWN, 421, "closing"), Outcome(Event.RELEASED)):
        [claim] = await take(at)
        settlement = decide(outcome, attempts=0, in_doubt=False, priority=2, times=RetryTimes(), jitter=0)
        assert await writer_at(app, at).settle(claim, settlement)
        assert await rows("last_code", "last_text") == [(421, "closing")]
        at += timedelta(seconds=RetryTimes().probe_max)
