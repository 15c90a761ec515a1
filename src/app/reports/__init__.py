"""Error reports by mail: at most one per kind of error and ten minutes to ADMINS, with a count.

An unhandled error is logged and kept in memory at once, and stored by a background task, so the response
neither waits for the report nor fails because of it. A failure to report is logged and not reported.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from quart import Quart
from quart.signals import got_background_exception, got_request_exception
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app import mailer
from app.database import Database, DatabaseUnavailable, is_schema_outdated
from app.outbox import Handle
from app.reports import failures
from app.reports.description import describe
from app.reports.failures import ErrorReport, Failure
from app.web.request_log import current_request, log_event

SWEEP_SECONDS = 60
MAX_KINDS = 100  # kept in memory while the database is down; errors of further kinds are only logged
MAX_ROUTE_LENGTH = 255

log = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Report the unhandled errors of `app`; needs its database and outbox."""
    mailer.register(app, ErrorReport)
    reporter = Reporter(app)
    app.extensions["reports"] = reporter
    got_request_exception.connect(reporter.note_request, sender=app)
    got_background_exception.connect(reporter.note_background, sender=app)
    # Quart's own log line has the path (perhaps a reset link) and the error's values.
    app.log_exception = lambda exception_info: None  # type: ignore[method-assign]
    tasks: list[asyncio.Task[None]] = []

    @app.before_serving
    async def start() -> None:
        tasks.append(asyncio.create_task(reporter.run(), name="error reports"))

    async def stop() -> None:
        task = tasks.pop()
        task.cancel()
        await asyncio.wait([task])

    app.after_serving_funcs.insert(0, stop)  # before the database is closed


async def post(session: AsyncSession, error: BaseException) -> Handle:
    """Post a report of `error` in the transaction of `session`, even if it was reported before."""
    return await failures.report(Failure.of(describe(error), "(no request)", "-")).post(session)


class Reporter:
    """Logs and collects the unhandled errors of one app, and stores them for reporting."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.pending: dict[str, Failure] = {}
        self.is_storing = False

    async def note_request(self, sender: object, exception: Exception) -> None:
        """Note an unhandled error of a request (receives `got_request_exception`)."""
        record = current_request()
        if record is None:
            self._note(exception, "(no request)", "-")
        else:
            route = f"{record.method} {record.route or '(no route)'}"
            self._note(exception, route[:MAX_ROUTE_LENGTH], record.id)

    async def note_background(self, sender: object, exception: Exception) -> None:
        """Note an unhandled error of a background task (receives `got_background_exception`)."""
        self._note(exception, "(background task)", "-")

    def _note(self, error: Exception, route: str, request_id: str) -> None:
        description = describe(error)
        log_event(
            "failure",
            level=logging.ERROR,
            kind=description.kind,
            place=description.place,
            route=route,
            request=request_id,
            says=_safe_message(error),
            traceback=description.traceback,
        )
        # A database outage is not a fault of this code, and /readyz shows it. All else is reported, including
        # TimeoutError: a view sees a client that disconnects as CancelledError, a slow one as RequestTimeout.
        if isinstance(error, DatabaseUnavailable) or not self.app.config["ADMINS"]:
            return
        self._add(Failure.of(description, route, request_id))
        if not self.is_storing:
            self.is_storing = True
            self.app.add_background_task(self.store)

    def _add(self, failure: Failure) -> None:
        pending = self.pending.get(failure.fingerprint)
        if pending is not None:
            pending.merge(failure)
        elif len(self.pending) < MAX_KINDS:
            self.pending[failure.fingerprint] = failure

    async def store(self) -> None:
        """Store the pending errors, and post the reports that are due; the next sweep tries again."""
        with _errors_logged():
            try:
                while self.pending:
                    await self._store(self.pending.pop(next(iter(self.pending))))
            finally:
                self.is_storing = False

    async def _store(self, failure: Failure) -> None:
        database: Database = self.app.extensions["database"]
        try:
            async with database.writing() as session:
                await failures.count(session, failure)
                await failures.post_due(session, fingerprint=failure.fingerprint)
        except (DatabaseUnavailable, SQLAlchemyError):
            self._add(failure)
            raise

    async def run(self) -> None:
        """Sweep every SWEEP_SECONDS until cancelled."""
        async with self.app.app_context():
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                with _errors_logged():
                    await self.sweep()

    async def sweep(self) -> None:
        """Store what could not be stored before, report what was counted since, and delete old kinds."""
        await self.store()
        database: Database = self.app.extensions["database"]
        async with database.writing() as session:
            await failures.post_due(session)
            await failures.delete_old(session)


def _safe_message(error: Exception) -> str | None:
    """Return a message without values: the missing table or column, or the database's code for the error."""
    if not isinstance(error, DBAPIError):
        return None
    if is_schema_outdated(error):
        return str(error.orig)
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return code and f"the database's code is {code}"


@contextmanager
def _errors_logged() -> Iterator[None]:
    """Log errors of the block: a failure to report must not cause another report."""
    try:
        yield
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        log.warning("Cannot store error reports yet: %s", type(error).__name__)
    except Exception as error:
        log.error("Unexpected error while reporting errors: %s", type(error).__name__)
