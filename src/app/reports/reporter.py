"""Listening for unhandled errors, and bringing what was noted to the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from quart import Quart
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.database import Database, DatabaseUnavailable, is_schema_outdated
from app.reports import ledger
from app.reports.description import Description, describe
from app.reports.noted import Noted, Notes
from app.web.request_log import current_request, log_event

SWEEP_SECONDS = 60
LONGEST_ROUTE = 255
NOT_OURS = (DatabaseUnavailable,)
"""What the world outside does, not this code; a supervisor sees it in /readyz.

Any other error that nobody handled is a fault here, also TimeoutError and ConnectionError: a client that
leaves reaches a view as CancelledError, and one that is too slow as RequestTimeout.
"""

log = logging.getLogger(__name__)


class Reporter:
    """The reporter of one app."""

    def __init__(self, app: Quart) -> None:
        self.app = app
        self.notes = Notes()
        self.is_storing = False

    async def note_request(self, sender: object, exception: Exception) -> None:
        """Note an error that no handler answered (receives `got_request_exception`)."""
        here = current_request()
        route = (
            f"{here.method} {here.route or '(no route)'}"[:LONGEST_ROUTE]
            if here
            else "(no request)"
        )
        self._note(exception, route, here.id if here else "-")

    async def note_background(self, sender: object, exception: Exception) -> None:
        """Note an error of a background task (receives `got_background_exception`)."""
        self._note(exception, "(background task)", "-")

    def _note(self, error: Exception, route: str, request_id: str) -> None:
        told = describe(error)
        self._log(error, told, route, request_id)
        if isinstance(error, NOT_OURS) or not self.app.config["ADMINS"]:
            return
        self.notes.add(told, route=route, request_id=request_id, now=datetime.now(UTC))
        if not self.is_storing:
            self.is_storing = True
            self.app.add_background_task(self.store)

    def _log(self, error: Exception, told: Description, route: str, request_id: str) -> None:
        """Log the error in one line; what it says, which may be anybody's secret, under DEBUG only."""
        log_event(
            "failure",
            level=logging.ERROR,
            kind=told.kind,
            place=told.place,
            route=route,
            request=request_id,
            says=str(error) if self.app.debug else _harmless(error),
            traceback=told.traceback,
        )

    async def store(self) -> None:
        """Store what was noted; what cannot be stored now is tried again by the next sweep."""
        with _to_the_log("stored"):
            try:
                while taken := self.notes.take():
                    await self._store(taken)
            finally:
                self.is_storing = False

    async def _store(self, taken: list[Noted]) -> None:
        database: Database = self.app.extensions["database"]
        try:
            async with database.writing() as session:
                for noted in taken:
                    await ledger.store(session, noted, datetime.now(UTC))
        except (DatabaseUnavailable, SQLAlchemyError):
            self.notes.give_back(taken)
            raise

    async def sweep(self) -> None:
        """Now and then, for ever: report what was counted since the last mail of its kind."""
        database: Database = self.app.extensions["database"]
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.store()
            with _to_the_log("looked for"):
                async with database.writing() as session:
                    await ledger.mail_due(session, datetime.now(UTC))
                    await ledger.forget(session, datetime.now(UTC))


def _harmless(error: Exception) -> str | None:
    """Return what holds no value: which table or column the database lacks, or its code for the error."""
    if not isinstance(error, DBAPIError):
        return None
    if is_schema_outdated(error):
        return str(error.orig)
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
    return code and f"the database's code is {code}"


@contextmanager
def _to_the_log(wanted: str) -> Iterator[None]:
    """Log what goes wrong in the block: of a failure to report there is no report."""
    try:
        yield
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        log.warning("error reports could not be %s: %s", wanted, type(error).__name__)
    except Exception as error:
        log.error("error reports could not be made: %s", type(error).__name__)
