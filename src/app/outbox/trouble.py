"""What keeps the courier from its work, told once, and again when it changes."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, wants_upgrade

_log = logging.getLogger(__name__)


class Told:
    """A trouble that may last: one line when it comes, with `%s` for what it is, and one when it goes."""

    def __init__(self, says: str, says_then: str) -> None:
        self._lines = says, says_then
        self._told: str | None = None

    def met(self, what: str) -> None:
        """Log the trouble, unless that was the last thing said."""
        if what != self._told:
            self._told = what
            _log.warning(self._lines[0], what)

    def gone(self) -> None:
        """Log, if there was trouble, that it is over."""
        if self._told is not None:
            self._told = None
            _log.warning(self._lines[1])


class Trouble:
    """The courier's trouble with the database, if it has any."""

    def __init__(self) -> None:
        self._told = Told("The outbox cannot be read: %s", "The outbox can be read again")

    def met(self, error: DatabaseUnavailable | DBAPIError) -> None:
        """Tell what `error` means for whoever looks after the site."""
        if isinstance(error, DatabaseUnavailable):
            self._told.met(str(error) or type(error).__name__)
        else:
            self._told.met(NOT_MIGRATED if wants_upgrade(error) else type(error).__name__)

    def gone(self) -> None:
        """Tell, if there was trouble, that it is over."""
        self._told.gone()
