"""`init_app`: the app's reporter, at work while it serves."""

from __future__ import annotations

import asyncio

from quart import Quart
from quart.signals import got_background_exception, got_request_exception

from app import mailer
from app.reports.email import ErrorReport
from app.reports.reporter import Reporter


def init_app(app: Quart) -> None:
    """Report the unhandled errors of `app`; needs its database and outbox."""
    mailer.register(app, ErrorReport)
    reporter = Reporter(app)
    app.extensions["reports"] = reporter
    got_request_exception.connect(reporter.note_request, sender=app)
    got_background_exception.connect(reporter.note_background, sender=app)
    app.log_exception = _logged_already  # type: ignore[method-assign]
    sweeping: list[asyncio.Task[None]] = []

    @app.before_serving
    async def start() -> None:
        async def sweep() -> None:
            async with app.app_context():
                await reporter.sweep()

        sweeping.append(asyncio.create_task(sweep(), name="error reports"))

    async def stop() -> None:
        task = sweeping.pop()
        task.cancel()
        await asyncio.wait([task])

    app.after_serving_funcs.insert(0, stop)  # before the database is closed


def _logged_already(exception_info: object) -> None:
    """Stand for Quart's own line, which holds the path (a reset link, perhaps) and the error's values."""
