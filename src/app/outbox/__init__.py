"""Durable mail: posting stores a row in the transaction of the change it reports; a courier delivers it.

    outbox.init_app(app)
    outbox.register(app, Kind("welcome", render_welcome))

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
from app.outbox.models import Priority as Priority
from app.outbox.models import State as State
from app.outbox.posting import Handle as Handle
from app.outbox.posting import NotPosted as NotPosted
from app.outbox.posting import post as post
from app.outbox.posting import post_message as post_message
from app.outbox.queries import RateLimits as RateLimits
from app.outbox.queries import allowed_at as allowed_at
from app.outbox.queries import was_handed_over as was_handed_over
from app.outbox.state import Kind as Kind
from app.outbox.state import MailRequest as MailRequest
from app.outbox.state import Outbox, outbox_of
from app.outbox.state import Postponed as Postponed
from app.outbox.state import Rendered as Rendered
from app.outbox.transitions import withdraw as withdraw


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


def register(app: Quart, kind: Kind) -> None:
    """Let the outbox of `app` accept and render a kind of mail."""
    outbox_of(app).kinds[kind.name] = kind


async def drain() -> None:
    """Deliver all mail that is due and return; for tests and consoles. Raises DatabaseUnavailable."""
    courier: Courier = current_app.extensions["outbox_courier"]
    await courier.drain()


async def stats() -> dict[str, Any]:
    """Return the counts of mails by state, the ages in seconds of the oldest, and the number in doubt."""
    return asdict(await queries.stats(outbox_of()))
