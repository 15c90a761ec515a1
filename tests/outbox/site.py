"""A site whose outbox has a few kinds of mail for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from quart import Quart
from sqlalchemy import select, update

from app import create_app, outbox
from app.database import reading, writing
from app.outbox.models import Delivery
from app.quart_mail import Mail, Message

QUICK = {
    "OUTBOX_POLL": 0.05,
    "OUTBOX_RETRY_FIRST": 0.05,
    "OUTBOX_RETRY_MAX": 0.2,
    "OUTBOX_PROBE_FIRST": 0.05,
    "OUTBOX_PROBE_MAX": 0.1,
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_DEFAULT_SENDER": "Microblog <noreply@example.com>",
}


async def note(request: outbox.MailRequest) -> Message | None:
    """Render a mail to `to`; with `fail` raise an error, with `nothing` send nothing."""
    if request.params.get("fail"):
        raise KeyError("secret-in-the-error")
    if request.params.get("nothing"):
        return None
    return Message("A note", [request.params["to"]], f"Asked for at {request.created_at}.")


def make_site(config: Mapping[str, Any]) -> Quart:
    site = create_app(config)
    if "mail" not in site.extensions:
        Mail().init_app(site)
    if "outbox" not in site.extensions:
        outbox.init_app(site)
    outbox.register(site, outbox.Kind("note", note))
    outbox.register(site, outbox.Kind("urgent", note, priority=outbox.Priority.RESET, secret=True))
    outbox.register(site, outbox.Kind("bulk", note, priority=outbox.Priority.LOW))
    return site


async def post(kind: str = "note", to: str = "susan@example.com", **params: Any) -> outbox.Handle:
    async with writing() as session:
        return await outbox.post(session, kind, to=to, **params)


async def change(**values: Any) -> None:
    """Change every row."""
    async with writing() as session:
        await session.execute(update(Delivery).values(**values))


async def make_due() -> None:
    """Make every mail that waits for its next attempt due now."""
    async with writing() as session:
        await session.execute(
            update(Delivery)
            .where(Delivery.due_at.is_not(None))
            .values(due_at=datetime.now(UTC))
            .execution_options(synchronize_session=False)
        )


async def rows(*columns: str) -> list[Any]:
    """Return the outbox's rows (or one column of each), oldest first."""
    async with reading() as connection:
        found = (await connection.execute(select(Delivery.__table__).order_by(Delivery.id))).all()
    if len(columns) == 1:
        return [getattr(row, columns[0]) for row in found]
    return [tuple(getattr(row, column) for column in columns) for row in found] if columns else list(found)
