"""Clients that disconnect early: a request is processed completely or not at all, and leaks nothing.

Most leave after 0 to 200 ms, some only when the response begins.

`LEAVERS=100 pytest tests/faults/test_leaving.py` disconnects that many clients per form.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from quart import Quart
from sqlalchemy import func, select

from app.accounts.models import LoginSession, User, followers
from app.database import Base, reading
from app.greeting import Greeted
from app.outbox.models import Delivery
from app.posts.models import Post
from app.reports.failures import Failure
from tests.clients import talk
from tests.factories import HASH
from tests.faults.leavers import PARTINGS, Parting, People, leave, leave_at_response
from tests.processes import PATIENCE_SECONDS, PRODUCTION, Site, served_site

pytestmark = pytest.mark.slow

LEAVERS = int(os.environ.get("LEAVERS", "12"))
LATE_LEAVERS = 3
LONGEST_SECONDS = 0.2
HASHERS = 2
POOLS = 25
"""Connections to PostgreSQL, with every pool full and overflowing."""


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    own = {key: PRODUCTION[key] for key in ("SECRET_KEY", "BASE_URL", "TRUSTED_HOSTS")}
    return config | own | {"TRUSTED_HOSTS": "127.0.0.1,localhost"}


async def names(column: Any, prefix: str) -> set[str]:
    async with reading() as connection:
        found = await connection.execute(select(column).where(column.like(f"{prefix}%")))
        return set(found.scalars())


async def told(kind: str, parameter: str, prefix: str = "") -> list[Any]:
    """Return what the waiting mails of `kind` say of `parameter`."""
    async with reading() as connection:
        found = await connection.execute(select(Delivery.params).where(Delivery.kind == kind))
        values = [params[parameter] for params in found.scalars() if params]
    return [value for value in values if str(value).startswith(prefix)]


async def test_every_form_can_be_left(app: Quart, config: dict[str, Any], tmp_path: Path) -> None:
    forms = {rule.rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    rules = {rule for rule in forms if not rule.startswith("/auth/")}  # these only redirect
    assert rules == set(PARTINGS)
    people = People(app)
    settings = {"PASSWORD_PROCESSES": str(HASHERS), "FLASKY_ADMIN": "admin@site.example"}
    async with served_site(tmp_path, config["DATABASE_URL"], **settings) as served:
        before = served.connections()
        last = await people.parting("/index", 999)
        for rule in PARTINGS:
            partings = [await people.parting(rule, number) for number in range(LEAVERS)]
            await asyncio.gather(
                *(leave_at_response(served.port, parting) for parting in partings[:LATE_LEAVERS]),
                *(
                    leave(served.port, parting, after=LONGEST_SECONDS * number / LEAVERS)
                    for number, parting in enumerate(partings[LATE_LEAVERS:])
                ),
            )
            while await refused(served, [last]):  # writers queue: those before it are done
                pass
        await nothing_is_used_up(served, people, before)
    await rows_agree()
    failures = [line for line in served.lines if "event=failure" in line]
    assert not failures, failures[0]
    async with reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(Failure))).scalar() == 0


async def nothing_is_used_up(served: Site, people: People, before: int) -> None:
    """Show that as many as ever can be served at once, by as many processes and connections."""
    posts = [await people.parting("/index", 900 + number) for number in range(20)]
    logins = [await people.parting("/login", 0) for _ in range(20)]
    forms = posts + logins
    async with asyncio.timeout(PATIENCE_SECONDS):
        while forms := await refused(served, forms):
            pass
    assert len(served.children()) == HASHERS
    async with asyncio.timeout(PATIENCE_SECONDS):
        while served.connections() > before + POOLS:
            await asyncio.sleep(0.1)


async def refused(served: Site, partings: list[Parting]) -> list[Parting]:
    """Send the forms all at once, wait for the answers, and return those without success."""
    requests = (parting.request().replace(b"\r\n", b"\r\nConnection: close\r\n", 1) for parting in partings)
    replies = await asyncio.gather(*(talk(served.port, request) for request in requests))
    return [parting for parting, reply in zip(partings, replies, strict=True) if reply.status != 302]


async def rows_agree() -> None:
    """Show that what belongs together is there together, or not at all."""
    new = {
        *await names(User.username, "reg"),
        *await names(User.username, "conf"),
        *await names(Greeted.name, "greet"),
    }
    assert sum(await told("new_user", "count")) == len(new) >= 2 * LATE_LEAVERS
    async with reading() as connection:
        changed = select(User.id).where(User.password_hash != HASH, User.username.not_like("reg%"))
        changed_ids = set((await connection.execute(changed)).scalars())
        moved = select(User.id).where(User.email.like("moved%"))
        moved_ids = set((await connection.execute(moved)).scalars())
    rehashed = await names(User.username, "susan")
    assert rehashed == {"susan"}
    assert sorted(await told("password_changed", "user_id")) == sorted(changed_ids - await of("susan"))
    assert sorted(await told("email_changed", "user_id")) == sorted(moved_ids)
    asked = await told("email_change_asked", "user_id")
    assert sorted(asked) == sorted(await told("change_email", "user_id"))
    gone = set(await told("account_deleted", "username"))
    assert gone.isdisjoint(await names(User.username, "gone"))
    assert len(gone) + len(await names(User.username, "gone")) == LEAVERS
    await nobody_is_named_who_is_not_there()


async def of(username: str) -> set[int]:
    async with reading() as connection:
        found = await connection.execute(select(User.id).where(User.username == username))
        return set(found.scalars())


async def nobody_is_named_who_is_not_there() -> None:
    known = select(User.id)
    columns = [
        column
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if any(key.column is User.__table__.c.id for key in column.foreign_keys)
    ]
    assert {column.table for column in columns} >= {LoginSession.__table__, Post.__table__, followers}
    async with reading() as connection:
        for column in columns:
            strays = select(func.count()).select_from(column.table).where(column.not_in(known))
            assert (await connection.execute(strays)).scalar() == 0, column
