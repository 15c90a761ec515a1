"""What keeps the courier from its outbox, told once, and again when it changes."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError

from app.database import NOT_MIGRATED, DatabaseUnavailable, wants_upgrade

_log = logging.getLogger(__name__)


class Trouble:
    """The courier's trouble with the database, if it has any: one line when it comes, one when it goes."""

    def __init__(self) -> None:
        self._told: str | None = None

    def met(self, error: DatabaseUnavailable | DBAPIError) -> None:
        """Log what `error` means for whoever looks after the site, unless that was the last thing said."""
        says = _sentence(error)
        if says != self._told:
            self._told = says
            _log.warning("The outbox cannot be read: %s", says)

    def is_over(self) -> None:
        """Log, if there was trouble, that it is over."""
        if self._told is not None:
            self._told = None
            _log.warning("The outbox can be read again")


def _sentence(error: DatabaseUnavailable | DBAPIError) -> str:
    if isinstance(error, DatabaseUnavailable):
        return str(error) or type(error).__name__
    return NOT_MIGRATED if wants_upgrade(error) else type(error).__name__
