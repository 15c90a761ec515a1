"""Managing the outbox: listing, retrying and purging mails."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from quart import Quart
from sqlalchemy import String, func, literal_column, select, update

from app import create_app, outbox
from app.database import reading, writing
from app.outbox import cli as outbox_cli
from app.outbox import maintenance, queries
from app.outbox.models import Content, Delivery
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests import processes
from tests.outbox.site import change, post, rows
from tests.smtp_server import SmtpServer


async def test_stats_count_by_state_and_tell_the_oldest(app: Quart, box: Outbox) -> None:
    assert (await queries.stats(box)).oldest_due is None
    await post()
    await post(nothing=True)
    await outbox.drain()
    await post()
    await change(due_at=datetime.now(UTC) - timedelta(seconds=90))
    async with writing() as session:
        await session.execute(update(Delivery).where(Delivery.state != "queued").values(due_at=None))
    found = await queries.stats(box)
    assert found.states == {
        "queued": 1, "sending": 0, "sent": 1, "failed": 0, "expired": 0, "skipped": 1
    }  # fmt: skip
    assert 89 < (found.oldest_due or 0) < 150


async def test_the_parameters_of_a_secret_mail_are_not_shown(app: Quart, box: Outbox) -> None:
    [plain] = (await post(word="abracadabra")).ids
    [secret] = (await post("urgent", word="abracadabra")).ids
    shown = await queries.show(box, plain)
    hidden = await queries.show(box, secret)
    assert shown is not None
    assert shown["params"] == {"to": "susan@example.com", "word": "abracadabra"}
    assert hidden is not None
    assert "abracadabra" not in repr(hidden)
    assert await queries.show(box, 10**6) is None


async def test_of_a_ready_made_mail_the_subject_is_shown_and_no_body(app: Quart, box: Outbox) -> None:
    async with writing() as session:
        message = Message("Greetings", ["ann@example.com"], "abracadabra")
        [id_] = (await outbox.post_message(session, message)).ids
    shown = await queries.show(box, id_)
    assert shown is not None
    assert (shown["subject"], shown["recipient"]) == ("Greetings", "ann@example.com")
    assert "abracadabra" not in repr(shown)


async def test_a_failed_mail_is_tried_again_with_its_message_id(
    app: Quart, box: Outbox, server: SmtpServer
) -> None:
    server.fail("dot", "554 no", times=1)
    handle = await post()
    await outbox.drain()
    assert await handle == "failed"
    assert await maintenance.retry(box, handle.ids[0])
    assert box.wake_event.is_set()
    await outbox.drain()
    assert await handle == "sent"
    assert list(server.arrivals) == await rows("message_id")
    assert not await maintenance.retry(box, handle.ids[0])


async def test_it_can_be_too_late_to_try_again(app: Quart, box: Outbox) -> None:
    async def render(request: outbox.MailRequest) -> Message | None:
        raise KeyError

    outbox.register(app, outbox.Kind("brief", render, expiry=600))
    [id_] = (await post("brief")).ids
    await outbox.drain()
    await change(created_at=datetime.now(UTC) - timedelta(seconds=601))
    assert not await maintenance.retry(box, id_)
    await change(created_at=datetime.now(UTC) - timedelta(seconds=300))
    assert await maintenance.retry(box, id_)


async def test_only_old_finished_mail_is_purged(app: Quart, box: Outbox, server: SmtpServer) -> None:
    server.fail("rcpt", "550 no", to="bob@example.com")
    async with writing() as session:
        message = Message("Hi", ["ann@example.com", "bob@example.com"], "Hi!")
        await outbox.post_message(session, message)
    await outbox.drain()
    long_ago = datetime.now(UTC) - timedelta(days=15)
    await change(created_at=long_ago)
    assert await maintenance.purge(box) == 0
    await change(done_at=long_ago)
    async with writing() as session:
        await session.execute(
            update(Content).values(created_at=long_ago).execution_options(synchronize_session=False)
        )
    await post()
    async with writing() as session:
        await session.execute(update(Delivery).where(Delivery.state == "queued").values(created_at=long_ago))
    assert await maintenance.purge(box) == 2
    assert await rows("state") == ["queued"]
    async with reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(Content)) == 0


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_command_line_tells_it_all(app: Quart, server: SmtpServer, database_url: str) -> None:
    server.fail("dot", "554 looks like spam", times=1)
    [id_] = (await post(kind="note", word="abracadabra")).ids
    await outbox.drain()

    async def microblog(*arguments: str) -> str:
        settings = {"DEBUG": "1", "DATABASE_URL": database_url}
        done = await asyncio.to_thread(processes.microblog, *arguments, **settings)
        return done.stdout + done.stderr

    [listed] = json.loads(await microblog("outbox", "list", "--state", "failed", "--json"))
    assert (listed["id"], listed["attempts"], listed["last_code"]) == (id_, 1, 554)
    shown = await microblog("outbox", "show", str(id_))
    assert "looks like spam" in shown
    assert "abracadabra" not in shown
    assert "is queued again" in await microblog("outbox", "retry", str(id_))
    assert "has not failed or expired" in await microblog("outbox", "retry", str(id_))
    assert "There is no mail 999." in await microblog("outbox", "retry", "999")
    stats = json.loads(await microblog("outbox", "stats", "--json"))
    assert stats["states"]["queued"] == 1
    assert await microblog("outbox", "purge", "--days", "0") == "Deleted 0 mails.\n"


async def test_the_command_line_says_to_whom_a_ready_made_mail_goes(app: Quart, database_url: str) -> None:
    async with writing() as session:
        message = Message("Hi", ["ann@example.com", "bob@example.com"], "Hi!")
        await outbox.post_message(session, message)
    await post(kind="reset_password", address="secret@example.com")
    settings = {"DEBUG": "1", "DATABASE_URL": database_url}
    done = await asyncio.to_thread(processes.microblog, "outbox", "list", **settings)
    head, *kinds = [line.split("\t")[2] for line in done.stdout.splitlines()]
    assert head == "KIND AND RECIPIENT"
    assert kinds == ["reset_password", "message to bob@example.com", "message to ann@example.com"]
    assert "secret" not in done.stdout


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_what_is_stored_cannot_break_the_terminal(app: Quart, database_url: str) -> None:
    """Adopted databases hold any text as the address of an account."""
    hostile = "\x1b]0;x\x07\x9b2J\u202ea\r\nb\tc"
    async with writing() as session:
        await outbox.post_message(session, Message(f"Hi {hostile[-1]}", ["ann@example.com"], "Hi!"))
    await change(kind=f"note{hostile}", recipient=f"ann@{hostile}", last_text=hostile, last_code=550)
    settings = {"DEBUG": "1", "DATABASE_URL": database_url}
    for command in ("list", "show 1", "list --json", "show 1 --json"):
        done = await asyncio.to_thread(processes.microblog, "outbox", *command.split(), **settings)
        assert done.returncode == 0
        assert all(line.isprintable() for line in done.stdout.replace("\t", "").split("\n")), command
        assert "json" in command or "\\x1b]0;x\\x07\\x9b2J\\x202ea\\x0d\\x0ab\\x09c" in done.stdout
        assert command != "list" or [line.count("\t") for line in done.stdout.splitlines()] == [6, 6]


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_the_next_try_has_a_date_unless_it_is_today(app: Quart, database_url: str) -> None:
    await post()
    due_at = datetime.now(UTC) + timedelta(days=3)
    await change(due_at=due_at)
    settings = {"DEBUG": "1", "DATABASE_URL": database_url}
    done = await asyncio.to_thread(processes.microblog, "outbox", "list", **settings)
    _, mail = done.stdout.splitlines()
    assert mail.split("\t")[5] == f"{due_at:%Y-%m-%d %H:%M:%S}"


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_times_that_cannot_be_read_are_shown_as_stored(app: Quart, config: dict[str, Any]) -> None:
    for _ in range(2):
        await post()
    times = {
        "created_at": "'soon\x1b'",
        "due_at": "'0'",
        "expires_at": "'2026-02-31 00:00:00'",
        "done_at": "7",
    }
    async with writing() as session:
        edited = {name: literal_column(value, String) for name, value in times.items()}
        await session.execute(update(Delivery).where(Delivery.id == 1).values(**edited))

    async def microblog(*arguments: str) -> str:
        run = partial(CliRunner().invoke, outbox_cli.outbox, arguments, obj=lambda: create_app(config))
        result = await asyncio.to_thread(run)
        assert result.exit_code == 0, result.output
        return result.stdout

    for order in ([], ["--oldest"]):
        lines = (await microblog("list", *order)).splitlines()
        [bad] = [line.split("\t") for line in lines if line.startswith("1\t")]
        assert (bad[1], bad[3], bad[5], len(lines)) == ("soon\\x1b", "queued", "0", 3)
    shown = (await microblog("show", "1")).splitlines()
    assert {
        "created_at  soon\\x1b",
        "due_at      0",
        "expires_at  2026-02-31 00:00:00",
        "done_at     7",
    } <= set(shown)
    [_, listed] = json.loads(await microblog("list", "--json"))
    assert (listed["created_at"], listed["due_at"]) == ("soon\x1b", "0")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "9" * 22), f"Error: There is no mail {'9' * 22}."),
        (("retry", "9" * 22), f"Error: There is no mail {'9' * 22}."),
        (("show", "0"), "Error: There is no mail 0."),
        (("purge", "--days", "nan"), "nan is not a number of days from 0 to 36500."),
        (("purge", "--days", "1e300"), "1e+300 is not a number of days from 0 to 36500."),
        (("purge", "--days", "-1"), "-1 is not a number of days from 0 to 36500."),
        (("list", "--limit", "-3"), "-3 is not in the range 1<=x<=1000000."),
    ],
)
def test_the_command_line_says_what_cannot_be(arguments: tuple[str, ...], said: str) -> None:
    done = processes.microblog("outbox", *arguments, DEBUG="1")
    assert done.returncode != 0
    assert done.stderr.rstrip().endswith(said)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_a_courier_without_pages_delivers_until_it_is_asked_to_stop(
    app: Quart, server: SmtpServer, database_url: str
) -> None:
    settings = {"DEBUG": "1", "DATABASE_URL": database_url, "MAIL_COURIER": "none"}
    settings |= {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(server.port), "OUTBOX_POLL": "0.1"}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("microblog"), "courier",
        env=os.environ | settings, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(60):
        assert b"Mail courier started" in await process.stderr.readline()
    async with writing() as session:
        handle = await outbox.post_message(session, Message("Hi", ["ann@example.com"], "Hi!"))
    async with asyncio.timeout(60):
        assert await handle == "sent"
        process.terminate()
        assert await process.wait() == 0
