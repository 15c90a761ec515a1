"""What keeps the courier from its outbox."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, is_schema_outdated
from app.logs import OngoingProblem

_log = logging.getLogger(__name__)


class Trouble:
    """The courier's trouble with the database, if it has any."""

    def __init__(self) -> None:
        self._told = OngoingProblem(
            _log, "The outbox cannot be read: %s", "The outbox can be read again"
        )

    def met(self, error: DatabaseUnavailable | DBAPIError) -> None:
        """Tell what `error` means for whoever looks after the site."""
        if isinstance(error, DatabaseUnavailable):
            self._told.start(str(error) or type(error).__name__)
        else:
            self._told.start(NOT_MIGRATED if is_schema_outdated(error) else type(error).__name__)

    def gone(self) -> None:
        """Tell, if there was trouble, that it is over."""
        self._told.end()
