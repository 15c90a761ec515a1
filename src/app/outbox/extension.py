"""`init_app`: an app gets its outbox, and with MAIL_COURIER=loop a courier while it serves."""

from __future__ import annotations

import asyncio

from quart import Quart

from app.outbox.courier import Courier
from app.outbox.state import Outbox


def init_app(app: Quart) -> None:
    """Give `app` its outbox; needs the database and quart_mail to be there.

    When serving ends the courier stops before either of them.
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
