"""What one transaction of a courier is asked to write, and who is told about it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from app.outbox.claim import Claim, Room
from app.outbox.models import Priority
from app.outbox.rules import Settlement


@dataclass(slots=True, eq=False)
class Entry:
    """One wish: to settle, to `renew` for so many seconds, or (neither) to be fenced."""

    claim: Claim
    settlement: Settlement | None
    renew: float | None
    passed: asyncio.Future[bool]

    @property
    def is_fence(self) -> bool:
        """Whether DATA is to begin."""
        return self.settlement is None and self.renew is None


@dataclass(slots=True)
class Taking:
    """The wish to claim what there is `room` for; `lease` in seconds."""

    room: Room
    lease: float
    taken: asyncio.Future[list[Claim]]


@dataclass(slots=True)
class Group:
    """The wishes of one transaction: at most one for each row, and at most one taking."""

    entries: list[Entry] = field(default_factory=list)
    taking: Taking | None = None

    def __bool__(self) -> bool:
        return bool(self.entries) or self.taking is not None

    def wishes(self) -> list[Group]:
        """Return each wish as a group of its own."""
        each = [Group([entry]) for entry in self.entries]
        return [*each, Group(taking=self.taking)] if self.taking is not None else each

    def tell(self, passed: set[int], taken: list[Claim]) -> None:
        """Tell everybody what came of the wish, after the commit."""
        for entry in self.entries:
            if not entry.passed.done():
                entry.passed.set_result(entry.claim.id in passed)
        if self.taking is not None and not self.taking.taken.done():
            self.taking.taken.set_result(taken)

    def fail(self, error: BaseException) -> None:
        """Tell everybody that nothing was written."""
        futures: list[asyncio.Future[Any]] = [entry.passed for entry in self.entries]
        if self.taking is not None:
            futures.append(self.taking.taken)
        for future in futures:
            if future.done():
                continue
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()


def split(waiting: Iterable[Entry], sending: int, most: int) -> tuple[list[Entry], list[Entry]]:
    """Return the wishes that make the next group, and those that must wait.

    A lost claim and a new one of the same row are no group; and never more than `most` rows are in
    `sending`, where `sending` are now, the last place being kept for resets.
    """
    rows: set[int] = set()
    now: list[Entry] = []
    later: list[Entry] = []
    ordered = sorted(waiting, key=lambda entry: (entry.is_fence, entry.claim.priority))
    for entry in ordered:
        room = most - (entry.claim.priority != Priority.RESET and most > 1)
        if entry.claim.id in rows or (entry.is_fence and sending >= room):
            later.append(entry)
            continue
        rows.add(entry.claim.id)
        now.append(entry)
        sending += entry.is_fence
        sending -= entry.claim.is_fenced and entry.settlement is not None
    return now, later
