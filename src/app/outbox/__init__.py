"""Durable delivery: a mail is a row in the transaction of what it reports, and a courier delivers it.

    outbox.init_app(app)
    outbox.register(app, "welcome", render_welcome)

    async with writing() as session:
        handle = await outbox.post(session, "welcome", name="susan")
    await handle                          # only who must know waits: it goes out by itself

See the table in `rules`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from quart import Quart, current_app
from sqlalchemy.ext.asyncio import AsyncSession

from app.outbox import post as _post
from app.outbox import queries
from app.outbox.counting import count_since, is_spaced
from app.outbox.courier import Courier
from app.outbox.extension import init_app
from app.outbox.handle import Handle, NotPosted
from app.outbox.kinds import Kind, MailRequest, Rendered, Renderer
from app.outbox.models import Priority, State
from app.outbox.state import Outbox
from app.outbox.withdraw import withdraw as _withdraw
from app.quart_mail import Message

__all__ = [
    "Handle",
    "MailRequest",
    "NotPosted",
    "Priority",
    "Rendered",
    "State",
    "count_since",
    "drain",
    "init_app",
    "is_spaced",
    "post",
    "post_message",
    "register",
    "stats",
    "withdraw",
]


async def stats() -> dict[str, Any]:
    """Return the counts of mails by state, the age of the oldest due one in seconds, and those in doubt."""
    return asdict(await queries.stats(_outbox()))


def register(
    app: Quart,
    kind: str,
    renderer: Renderer,
    *,
    priority: Priority = Priority.NORMAL,
    expiry: float | None = None,
    secret: bool = False,
) -> None:
    """Say who renders mails of `kind`, how urgent they are and after how many seconds they expire.

    `secret`: parameters are shown to nobody. Rendering may be repeated, and happens in the app's context.
    """
    _outbox(app).kinds[kind] = Kind(kind, renderer, priority, expiry, secret)


async def post(
    session: AsyncSession, kind: str, *, unique: str | None = None, **params: Any
) -> Handle:
    """Store a mail of `kind` with JSON `params` by one INSERT into the transaction of `session`.

    A mail with the same `unique` that still waits is not doubled: it is asked for anew, and its times start
    again. Raises LookupError for a kind that nobody registered.
    """
    return await _post.post(_outbox(), session, kind, unique, params)


async def post_message(
    session: AsyncSession,
    message: Message,
    *,
    priority: Priority = Priority.NORMAL,
    expiry: float | None = None,
) -> Handle:
    """Store a ready-made message in the transaction of `session`: its content once, a delivery per recipient.

    All copies carry the same headers and Message-ID. `expiry` in seconds. Raises MessageError.
    """
    return await _post.post_message(_outbox(), session, message, priority=priority, expiry=expiry)


async def withdraw(session: AsyncSession, *, user_id: int, addresses: Collection[str]) -> None:
    """Skip what waits with the parameter `user_id` or for one of `addresses`, and forget whose it was.

    Joins the transaction of `session`. What is being sent at this moment is sent, and not tried again; rows
    of ready-made mails that were sent forget their recipient.
    """
    await _withdraw(_outbox(), session, user_id, addresses)


async def drain() -> None:
    """Deliver all that is due and return: for tests and consoles. Raises DatabaseUnavailable."""
    courier: Courier = current_app.extensions["outbox_courier"]
    await courier.drain()


def _outbox(app: Quart | None = None) -> Outbox:
    outbox: Outbox = (app or current_app).extensions["outbox"]
    return outbox
