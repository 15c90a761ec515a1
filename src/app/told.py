"""A trouble that may last is logged when it comes, when it changes and when it goes, not all the time."""

from __future__ import annotations

import logging


class Told:
    """One line when the trouble comes, with `%s` for what it is, and one when it goes."""

    def __init__(self, log: logging.Logger, says: str, says_then: str) -> None:
        self._log = log
        self._lines = says, says_then
        self._told: str | None = None

    def met(self, what: str) -> None:
        """Log the trouble, unless that was the last thing said."""
        if what != self._told:
            self._told = what
            self._log.warning(self._lines[0], what)

    def gone(self) -> None:
        """Log, if there was trouble, that it is over."""
        if self._told is not None:
            self._told = None
            self._log.warning(self._lines[1])
