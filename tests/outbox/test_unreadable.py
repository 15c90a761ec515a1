"""A row whose stored JSON cannot be read fails alone; commands and the deletion of accounts go on."""

from __future__ import annotations

from collections.abc import Sequence

from quart import Quart
from sqlalchemy import bindparam, literal_column, select, update

from app import outbox
from app.database import writing
from app.outbox import maintenance, queries
from app.outbox.models import contents, table
from app.outbox.state import Outbox
from app.quart_mail import Message
from tests.outbox.site import post, rows
from tests.smtp_server import SmtpServer

UNREADABLE = {
    "sqlite": [
        "'not json at all'",
        """'{"to": "susan@example.com'""",
        "CAST(X'7B22FF227D' AS TEXT)",
        "X'FF00FE'",
        "'5'",
    ],
    "postgresql": [
        "'5'",
        "'[1]'",
        """'"susan"'""",
        f"""'{{"to": 1{"0" * 5000}}}'""",
        f"'{'[' * 3000}{']' * 3000}'",
    ],
}
"""What each database stores in a JSON column, as literals of SQL."""

ODD = [
    r"""'{"to": "\u0000", "user_id": "\u0000"}'""",
    r"""'{"to": "\ud800", "user_id": "\ud800"}'""",
    """'{"to": [], "user_id": "seven", "address": 5}'""",
]
"""Objects that some functions of a database cannot read."""


async def spoil(values: Sequence[str]) -> list[outbox.Handle]:
    """Post a mail for each value, which replaces its parameters."""
    handles = [await post("urgent") for _ in values]
    async with writing() as session:
        for handle, value in zip(handles, values, strict=True):
            await session.execute(
                update(table)
                .where(table.c.id == bindparam("row_id", handle.ids[0]))
                .values(params=literal_column(value))
            )
    return handles


async def test_unreadable_parameters_fail_their_mail_alone(
    app: Quart, server: SmtpServer, database_kind: str
) -> None:
    bad = await spoil(UNREADABLE[database_kind] + ODD)
    good = [await post(to=f"ann{number}@example.com") for number in range(3)]
    await outbox.drain()
    assert [await handle for handle in bad] == ["failed"] * len(bad)
    assert [await handle for handle in good] == ["sent"] * 3
    assert len(server.arrivals) == 3
    reasons = (await rows("last_text"))[: len(UNREADABLE[database_kind])]
    assert all(reason.startswith("The stored parameters are unreadable (not ") for reason in reasons)


async def test_operators_see_list_and_purge_rows_that_cannot_be_read(
    app: Quart, box: Outbox, database_kind: str
) -> None:
    bad = await spoil(UNREADABLE[database_kind] + ODD)
    outbox.register(
        app, outbox.Kind("urgent", box.kinds["note"].renderer)
    )  # not secret, so that all is shown
    for handle in bad:
        shown = await queries.show(box, handle.ids[0])
        assert shown is not None
        assert str(shown["params"])
    assert len(await queries.list_(box.database)) == len(bad)
    assert (await queries.stats(box)).states["queued"] == len(bad)
    await outbox.drain()
    assert await maintenance.retry(box, bad[0].ids[0])
    await outbox.drain()
    assert await rows("state") == ["failed"] * len(bad)
    assert await maintenance.purge(box, keep=-60) == len(bad)


async def test_mail_is_withdrawn_beside_rows_that_cannot_be_read(app: Quart, database_kind: str) -> None:
    bad = await spoil(UNREADABLE[database_kind] + ODD)
    for user_id in (7, 77):
        await post(user_id=user_id)
        await post(user_id=user_id, word="last")
    await post(address="Susan_É@example.com")
    await post(address="susanxé@example.com")
    async with writing() as session:
        await outbox.withdraw(
            session,
            user_id=7,
            username="susan",
            address="susan_é@example.com",
            is_same_address=lambda address: address.lower() == "susan_é@example.com",
        )
    states = ["skipped", "skipped", "queued", "queued", "skipped", "queued"]
    assert await rows("state") == ["queued"] * len(bad) + states


async def test_an_unreadable_message_fails_alone(
    app: Quart, box: Outbox, server: SmtpServer, database_kind: str
) -> None:
    handles = []
    for value in [*UNREADABLE[database_kind], None]:
        async with writing() as session:
            message = Message("Hi", ["ann@example.com"], "Hi!")
            handles.append(await outbox.post_message(session, message))
            if value is None:
                continue
            newest = select(table.c.content_id).where(table.c.id == handles[-1].ids[0])
            await session.execute(
                update(contents)
                .where(contents.c.id == newest.scalar_subquery())
                .values(message=literal_column(value))
            )
    *bad, good = handles
    shown = await queries.show(box, bad[0].ids[0])
    assert shown is not None
    assert shown["subject"] is None
    await outbox.drain()
    assert [await handle for handle in bad] == ["failed"] * len(bad)
    assert await good == "sent"
    assert (await rows("last_text"))[0] == "The stored message cannot be read."


async def test_a_digest_replaces_a_waiting_row_that_cannot_be_read(
    app: Quart, box: Outbox, server: SmtpServer, database_kind: str
) -> None:
    outbox.register(app, outbox.Kind("digest", box.kinds["note"].renderer, merge=lambda old, new: old | new))
    for value in UNREADABLE[database_kind]:
        await post("digest", unique="digest")
        async with writing() as session:
            await session.execute(update(table).values(params=literal_column(value)))
        handle = await post("digest", unique="digest")
        await outbox.drain()
        assert await handle == "sent"
