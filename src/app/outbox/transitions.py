"""Transitions: every UPDATE that moves a row to another state after it was claimed.

Before DATA a row is moved to `sending`, so that every mail that can arrive twice is known; afterwards it is
settled. The functions that take claims expect rows that are owned and locked (`claims.still_owned`).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Text,
    Update,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.database import UtcDateTime
from app.outbox.claims import Claim
from app.outbox.models import DONE_STATES, IS_NEEDED, LONGEST_TEXT, State, contents, table
from app.outbox.policy import Settlement
from app.outbox.state import outbox_of

EXPIRED_AT_ONCE = 500
"""Rows moved to `expired` by one statement."""

REPLACED = "Replaced by a newer request."
EXPIRED = "The mail expired before it could be sent."
COPIED_COLUMNS = (
    "kind",
    "params",
    "message_id",
    "priority",
    "attempts",
    "in_doubt",
    "created_at",
    "expires_at",
)
NOT_ASCII = r"[^\x01-\x7f]"

NULL = null()
_now = bindparam("now_", type_=UtcDateTime())

MARK_SENDING = (
    update(table)
    .where(table.c.id == bindparam("row_id"))
    .values(
        state=State.SENDING.value,
        unique_key=None,
        about=bindparam("new_about", type_=table.c.about.type),
        handed_at=_now,
    )
)
HANDED_OVER_SINCE = (
    select(table.c.id)
    .where(
        table.c.about == bindparam("about_"),
        table.c.kind == bindparam("kind_"),
        table.c.handed_at >= bindparam("since", type_=UtcDateTime()),
        table.c.message_id != bindparam("message_id_"),
    )
    .limit(1)
)
LOCK_ABOUT = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("key"), 0)))
KEY_OWNERS = select(table.c.unique_key, table.c.id).where(
    table.c.unique_key.in_(bindparam("keys", expanding=True))
)
DELETE_CONTENTS = delete(contents).where(contents.c.id.in_(bindparam("ids", expanding=True)), ~IS_NEEDED)
_IS_TRANSIENT = table.c.kind.in_(bindparam("transient", expanding=True))
_EXPIRED_ROWS = (
    select(table.c.id)
    .where(table.c.expires_at <= _now, or_(table.c.claim_id.is_(None), table.c.due_at <= _now))
    .limit(EXPIRED_AT_ONCE)
    .with_for_update(skip_locked=True)
    .cte()
)
EXPIRE = (
    update(table)
    .where(table.c.id.in_(select(_EXPIRED_ROWS.c.id)))
    .values(
        state=State.EXPIRED.value,
        in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
        due_at=None,
        expires_at=None,
        claim_id=None,
        unique_key=None,
        done_at=_now,
        params=case((_IS_TRANSIENT, None), else_=table.c.params),
        last_text=case((or_(table.c.last_text.is_(None), _IS_TRANSIENT), EXPIRED), else_=table.c.last_text),
    )
    .returning(table.c.id)
)


async def mark_sending(connection: AsyncConnection, claims: Sequence[Claim], *, now: datetime) -> set[Claim]:
    """Move rows to `sending`; return those whose DATA may begin.

    A mail is held back if another of its kind with the same `about` was marked after this one was claimed:
    its renderer counted without that one (see `queries.allowed_at`) and must be called again. Copies of the
    same mail do not count.
    """
    marked: list[Claim] = []
    message_ids: dict[tuple[str, str], str] = {}
    for claim in sorted(claims, key=lambda claim: (claim.about or "", claim.id)):
        if claim.is_sending:
            continue
        if claim.about is not None:
            about = (claim.kind, claim.about)
            is_first = message_ids.setdefault(about, claim.message_id) == claim.message_id
            if not (is_first and await _none_handed_over_since(connection, claim)):
                continue
        marked.append(claim)
    if marked:
        values = [{"row_id": c.id, "new_about": c.about, "now_": now} for c in marked]
        await connection.execute(MARK_SENDING, values)
    return set(marked)


async def _none_handed_over_since(connection: AsyncConnection, claim: Claim) -> bool:
    if connection.dialect.name == "postgresql":
        await connection.execute(LOCK_ABOUT, {"key": f"{claim.kind} {claim.about}"})
    about = {"about_": claim.about, "kind_": claim.kind}
    values = about | {"since": claim.claimed_at, "message_id_": claim.message_id}
    return (await connection.execute(HANDED_OVER_SINCE, values)).first() is None


async def split(
    connection: AsyncConnection, claim: Claim, recipients: Sequence[str], *, now: datetime
) -> None:
    """Keep the first of `recipients` in the row, and queue a copy of it for each of the others.

    Each copy is then sent, retried and settled on its own, with the same Message-ID.
    """
    claim.recipient, claim.unique_key = recipients[0], None  # a newer request becomes another mail
    row = {"recipient": claim.recipient, "unique_key": None}
    await connection.execute(update(table).where(table.c.id == claim.id).values(row))
    copy = {name: getattr(claim, name) for name in COPIED_COLUMNS}
    copy |= {"state": State.QUEUED.value, "due_at": min(claim.created_at, now)}
    await connection.execute(insert(table), [copy | {"recipient": recipient} for recipient in recipients[1:]])


async def settle(
    connection: AsyncConnection, settled: Sequence[tuple[Claim, Settlement]], *, now: datetime
) -> None:
    """Write the outcomes of attempts, and delete the contents that no delivery needs any longer."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[dict[str, Any]]] = defaultdict(list)
    for claim, settlement, key in await _restore_keys(connection, settled):
        values = _values_of(claim, settlement, key, now)
        erased = tuple(name for name, value in values.items() if value is NULL)
        written = {name: value for name, value in values.items() if value is not NULL}
        groups[tuple(written), erased].append(written | {"row_id": claim.id})
    for (_, erased), rows in groups.items():
        await connection.execute(_update_erasing(erased), rows)
    ids = {claim.content_id for claim, settlement in settled if settlement.state in DONE_STATES}
    if ids := ids - {None}:
        await connection.execute(DELETE_CONTENTS, {"ids": list(ids)})


@cache
def _update_erasing(erased: tuple[str, ...]) -> Update:
    """Return an UPDATE of one row that sets the columns `erased` to NULL, and others to its parameters."""
    return update(table).where(table.c.id == bindparam("row_id")).values(dict.fromkeys(erased, NULL))


def _values_of(claim: Claim, settlement: Settlement, key: str | None, now: datetime) -> dict[str, Any]:
    """Return what to write to each column of the row, NULL to erase it; the others stay as they are."""
    is_done = settlement.state in DONE_STATES
    due_at: Any = NULL
    if settlement.wait is not None:  # mails that need not wait keep the order of their requests
        wait = timedelta(seconds=settlement.wait)
        due_at = now + wait if wait else min(claim.created_at, now)
    values: dict[str, Any] = {
        "state": settlement.state.value,
        "attempts": settlement.attempts,
        "in_doubt": settlement.in_doubt,
        "about": claim.about if claim.is_sending else None,
        "claim_id": NULL,
        "due_at": due_at,
        "done_at": now if is_done else NULL,
    }
    if is_done or settlement.text is not None:
        text = settlement.text and settlement.text[:LONGEST_TEXT]
        values |= {"last_code": settlement.code, "last_text": text}
    if is_done:
        values |= {"expires_at": NULL, "unique_key": NULL}
    elif key is not None:
        values["unique_key"] = key
    if settlement.state in (State.SENT, State.SKIPPED) or (is_done and claim.is_transient):
        values |= {"params": NULL, "content_id": NULL}
    if is_done and claim.is_transient:
        values["last_text"] = None  # servers quote the address that they refuse
    is_counted = settlement.state is State.SENT or settlement.in_doubt
    if not (is_counted or (claim.is_decoy and is_done)):
        values["handed_at"] = NULL  # the server did not accept it
    return values


async def _restore_keys(
    connection: AsyncConnection, settled: Sequence[tuple[Claim, Settlement]]
) -> list[tuple[Claim, Settlement, str | None]]:
    """Return each claim with its settlement and the unique key that it takes back, if any.

    A row gives up its key in `sending`. When it is queued again, it takes the key back, unless a newer row
    has it. Then the older row is skipped, or is queued without a key if the newer one does not replace it.
    """
    waiting = {
        claim
        for claim, settlement in settled
        if claim.is_sending
        and claim.unique_key is not None
        and not (settlement.state in DONE_STATES or settlement.in_doubt)
    }
    owners: dict[str | None, int] = {}
    if waiting:
        rows = await connection.execute(KEY_OWNERS, {"keys": [claim.unique_key for claim in waiting]})
        owners = {row.unique_key: row.id for row in rows}
    decided = []
    for claim, settlement in sorted(settled, key=lambda pair: -pair[0].id):
        key = None
        if claim in waiting:
            owner = owners.setdefault(claim.unique_key, claim.id)
            if owner > claim.id and claim.is_replaceable:
                settlement = replace(settlement, state=State.SKIPPED, wait=None, text=REPLACED)
            elif owner == claim.id:
                key = claim.unique_key
        decided.append((claim, settlement, key))
    return decided


async def expire(connection: AsyncConnection, *, now: datetime, transient: Collection[str] = ()) -> list[int]:
    """Move rows past their `expires_at` that no one owns to `expired`; return their ids.

    `transient`: the kinds whose parameters are erased.
    """
    values = {"now_": now, "transient": list(transient)}
    return list((await connection.execute(EXPIRE, values)).scalars())


async def withdraw(
    session: AsyncSession,
    *,
    user_id: int,
    username: str,
    address: str,
    is_same_address: Callable[[str], bool],
) -> None:
    """Erase everything that identifies a person from the mails to or about them; cancel waiting mails.

    Joins the transaction of `session`. These are the mails with the parameter `user_id` or `username`, and
    those to `address`, in any case, or to one with other characters than ASCII for which `is_same_address` is
    true. A courier that has claimed such a row loses it. Mail that is being sent may still arrive
    (`in_doubt`), but is not retried. `about` stays, because mails to an address are counted by it.
    """
    outbox = outbox_of()
    others = [id_ for id_, other in await _other_addresses(session) if is_same_address(other)]
    theirs = or_(
        table.c.id.in_(others),
        func.lower(table.c.recipient) == address.lower(),
        _has_param("address", address),
        _has_param("user_id", user_id),
        _has_param("username", username),
    )
    # Servers quote the address that they refuse, so `last_text` identifies the recipient too.
    erased = dict.fromkeys(
        ("recipient", "last_text", "params", "content_id", "unique_key", "claim_id", "due_at", "expires_at")
    )
    now = bindparam("now_", outbox.clock(), UtcDateTime())
    ids = await session.scalars(
        update(table)
        .where(theirs)
        .values(
            state=case((table.c.state == State.SENT, State.SENT.value), else_=State.SKIPPED.value),
            in_doubt=or_(table.c.in_doubt, table.c.state == State.SENDING),
            done_at=func.coalesce(table.c.done_at, now),
            **erased,
        )
        .returning(table.c.id)
    )
    outbox.notify_done(ids)
    await session.execute(delete(contents).where(~IS_NEEDED))


async def _other_addresses(session: AsyncSession) -> list[tuple[int, str]]:
    """Return the ids of rows and their addresses with other characters than ASCII.

    SQLite's lower() cannot tell which of these differ only by case.
    """
    text = cast(table.c.params, Text)
    is_escaped = and_(text.contains('"address": '), text.contains("\\u", autoescape=True))
    statement = select(table.c.id, table.c.recipient, text).where(
        or_(table.c.recipient.regexp_match(NOT_ASCII), is_escaped)
    )
    found = []
    for id_, recipient, params in await session.execute(statement):
        with suppress(ValueError, TypeError, KeyError):
            found.append((id_, recipient or str(json.loads(params)["address"])))
    return found


def _has_param(name: str, value: str | int) -> ColumnElement[bool]:
    """Return whether the parameters have `value` (in any case) as `name`.

    Compares text as `json.dumps` writes it: the databases' JSON functions fail on rows that they cannot read.
    """
    stored = func.lower(cast(table.c.params, Text))
    written = json.dumps({name: value})[1:-1].lower()
    return or_(*(stored.contains(f"{written}{end}", autoescape=True) for end in ",}"))
