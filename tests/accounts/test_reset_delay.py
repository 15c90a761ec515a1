"""A reset becomes due after a random delay and does the same work whether the account exists or not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from quart import Quart

from app import outbox, settings
from app.accounts.emails import ResetPassword
from app.database import writing
from app.quart_mail import Message
from tests.factories import make_user
from tests.inspection import recorded, sent_by
from tests.outbox.site import make_due, rows

KNOWN, UNKNOWN = "susan@example.com", "nobody@example.com"


@pytest.fixture
def delay() -> float:
    return 2.0


@pytest.fixture
def config(config: dict[str, Any], delay: float) -> dict[str, Any]:
    return config | {"OUTBOX_RESET_DELAY": delay}


async def ask(*addresses: str) -> None:
    for address in addresses:
        async with writing() as session:
            await ResetPassword(address).post(session)


async def waits() -> list[timedelta]:
    return [due_at - created_at for due_at, created_at in await rows("due_at", "created_at")]


async def deliver(app: Quart) -> list[str]:
    """Make all mails due and deliver them; return the statements that it took."""
    await make_due()
    with recorded() as statements:
        await outbox.drain()
    return statements


def test_the_delay_is_two_seconds_and_none_in_tests() -> None:
    production = {
        "SECRET_KEY": "kQ2v9mXr7TgYpL4wZ8sBnD1fHcJ6uEaR",
        "BASE_URL": "http://site.example",
        "MAIL_DEFAULT_SENDER": "noreply@site.example",
    }
    assert settings.load(production)["OUTBOX_RESET_DELAY"] == 2
    assert settings.load(production | {"OUTBOX_RESET_DELAY": "0"})["OUTBOX_RESET_DELAY"] == 0
    assert settings.load({"TESTING": True})["OUTBOX_RESET_DELAY"] == 0
    with pytest.raises(settings.SettingsError, match="OUTBOX_RESET_DELAY"):
        settings.load(production | {"OUTBOX_RESET_DELAY": "-1"})


async def test_resets_become_due_after_a_random_delay(app: Quart) -> None:
    await make_user("susan")
    await ask(KNOWN, *(f"nobody{number}@example.com" for number in range(20)))
    assert all(timedelta(seconds=0.3) <= wait <= timedelta(seconds=2) for wait in await waits())
    assert len(set(await waits())) > 15
    await make_due()
    [message] = await sent_by(app)
    assert message.recipients == [KNOWN]


@pytest.mark.parametrize("delay", [0.0])
async def test_without_a_delay_a_reset_is_due_at_once(app: Quart) -> None:
    await ask(KNOWN)
    assert await waits() == [timedelta(0)]


async def test_a_second_request_does_not_postpone_the_first(app: Quart) -> None:
    await ask(KNOWN)
    [first] = await rows("due_at")
    for _ in range(10):
        await ask(KNOWN)
    assert (await rows("due_at"))[0] <= first


async def test_the_courier_of_a_served_site_delivers_after_the_delay(app: Quart) -> None:
    await make_user("susan")
    async with app.test_app(), asyncio.timeout(60):
        async with writing() as session:
            handle = await ResetPassword(KNOWN).post(session)
        assert await handle == "sent"


@pytest.mark.parametrize("database_kind", ["sqlite"])  # asyncpg's statements are prepared once
async def test_a_skipped_reset_does_the_same_work_as_a_sent_one(app: Quart) -> None:
    await make_user("susan")
    await ask("warm@example.com")
    await deliver(app)
    work = {}
    for address in (KNOWN, UNKNOWN):
        await ask(address)
        work[address] = await deliver(app)
    assert await rows("state") == ["skipped", "sent", "skipped"]
    assert work[KNOWN] == work[UNKNOWN]
    assert any("handed_at" in statement for statement in work[UNKNOWN])
    for address in (KNOWN, UNKNOWN):  # within the minute both are over the limit
        await ask(address)
        work[address] = await deliver(app)
    assert work[KNOWN] == work[UNKNOWN]
    assert (await rows("state"))[3:] == ["skipped", "skipped"]


async def test_a_skipped_reset_keeps_no_address(app: Quart) -> None:
    await ask(UNKNOWN)
    await deliver(app)
    [row] = await rows()
    assert "nobody" not in repr(row)
    assert row.state == "skipped"


async def test_a_decoy_is_rendered_and_never_sent(app: Quart) -> None:
    async def decoy(request: outbox.MailRequest) -> outbox.Rendered:
        return outbox.Rendered(Message("Hi", [KNOWN], "Hi!"), about="nobody", is_decoy=True)

    outbox.register(app, outbox.Kind("decoy", decoy))
    async with writing() as session:
        handle = await outbox.post(session, "decoy")
    assert await sent_by(app) == []
    assert await handle == "skipped"
