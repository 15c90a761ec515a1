"""Durable mail: posting stores a row in the transaction of the change it reports; a courier delivers it.

    outbox.init_app(app)
    outbox.register(app, "welcome", render_welcome)

    async with writing() as session:
        handle = await outbox.post(session, "welcome", name="susan")
    await handle                          # optional: wait for the outcome

`policy` has the table of outcomes.
"""

import asyncio
from dataclasses import asdict
from typing import Any

from quart import Quart, current_app

from app.outbox import queries
from app.outbox.courier import Courier
from app.outbox.models import Priority, State
from app.outbox.posting import Handle, NotPosted, post, post_message
from app.outbox.queries import RateLimits, allowed_at, was_handed_over, within_rate_limit
from app.outbox.state import Kind, MailRequest, Merge, Outbox, Postponed, Rendered, Renderer, outbox_of
from app.outbox.transitions import withdraw

__all__ = [
    "Handle",
    "MailRequest",
    "NotPosted",
    "Postponed",
    "Priority",
    "RateLimits",
    "Rendered",
    "State",
    "allowed_at",
    "drain",
    "init_app",
    "post",
    "post_message",
    "register",
    "stats",
    "was_handed_over",
    "withdraw",
    "within_rate_limit",
]


def init_app(app: Quart) -> None:
    """Give `app` its outbox, and with MAIL_COURIER=loop a courier that runs while the app serves.

    Needs the database and quart_mail. When serving ends the courier stops before either of them.
    """
    outbox = Outbox(app)
    courier = Courier(outbox)
    app.extensions["outbox"] = outbox
    app.extensions["outbox_courier"] = courier
    if app.config["MAIL_COURIER"] != "loop":
        return
    running: list[asyncio.Task[None]] = []

    @app.before_serving
    async def start() -> None:
        running.append(asyncio.create_task(courier.run(), name="courier"))

    async def stop() -> None:
        await courier.stop(outbox.grace)
        await asyncio.wait([running.pop()])

    app.after_serving_funcs.insert(0, stop)


def register(
    app: Quart,
    kind: str,
    renderer: Renderer,
    *,
    priority: Priority = Priority.NORMAL,
    expiry: float | None = None,
    secret: bool = False,
    transient: bool = False,
    merge: Merge | None = None,
    delay: float = 0.0,
) -> None:
    """Register the renderer of a kind of mail, its priority, and after how many seconds it expires.

    The renderer runs in the app's context, once per attempt. `secret`: never show the parameters.
    `transient`: erase them when the mail is done, even if it failed. `merge`: how a waiting mail and a newer
    one with its unique key become one (see `post`). `delay`: a mail becomes due after a random time of up to
    so many seconds, so that it is not delivered beside the next request.
    """
    outbox_of(app).kinds[kind] = Kind(kind, renderer, priority, expiry, secret, transient, merge, delay)


async def drain() -> None:
    """Deliver all mail that is due and return; for tests and consoles. Raises DatabaseUnavailable."""
    courier: Courier = current_app.extensions["outbox_courier"]
    await courier.drain()


async def stats() -> dict[str, Any]:
    """Return the counts of mails by state, the ages in seconds of the oldest, and the number in doubt."""
    return asdict(await queries.stats(outbox_of()))
