"""Errors noted in memory, one entry per kind, until the database has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.reports.description import Description

MOST_KINDS = 100
"""With the database gone for long, of so many kinds it is kept that they happened."""


@dataclass(slots=True)
class Noted:
    """`count` errors of one kind, and the request that had the last of them."""

    fingerprint: str
    kind: str
    traceback: str
    route: str
    request_id: str
    count: int
    first_seen: datetime
    last_seen: datetime


class Notes:
    """The entries of one app."""

    def __init__(self) -> None:
        self.entries: dict[str, Noted] = {}

    def add(self, told: Description, *, route: str, request_id: str, now: datetime) -> None:
        """Note one error."""
        entry = self.entries.get(told.fingerprint)
        if entry is not None:
            entry.count += 1
            entry.route, entry.request_id, entry.last_seen = route, request_id, now
        elif len(self.entries) < MOST_KINDS:
            self.entries[told.fingerprint] = Noted(
                told.fingerprint, told.kind, told.traceback, route, request_id, 1, now, now
            )

    def take(self) -> list[Noted]:
        """Return the entries and forget them."""
        taken = list(self.entries.values())
        self.entries.clear()
        return taken

    def give_back(self, entries: list[Noted]) -> None:
        """Take entries back that could not be stored, together with what was noted since."""
        for entry in entries:
            newer = self.entries.get(entry.fingerprint)
            if newer is not None:
                newer.count += entry.count
                newer.first_seen = entry.first_seen
            elif len(self.entries) < MOST_KINDS:
                self.entries[entry.fingerprint] = entry
