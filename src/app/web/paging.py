"""Paging by position in a timeline rather than by counting rows: the page after, or before, one row.

A position is a row's time and id (a keyset), carried in the address as `?before=...` (older rows) or
`?after=...` (newer ones), opaque to people. What cannot be read as a position asks for the first page.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

LONGEST_POSITION = 80
LARGEST_ID = 2**63 - 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """One row of a timeline: its time, as the database holds it (ISO 8601), and its id."""

    stamp: str
    id: int

    def __str__(self) -> str:
        return urlsafe_b64encode(f"{self.stamp}~{self.id}".encode()).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: at the newest row, or next to `position` on its newer or its older side."""

    position: Position | None = None
    newer: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The rows of one page, newest first, and the queries of its neighbours' addresses ("" for none)."""

    rows: Sequence[T]
    newer: str = ""
    older: str = ""


FIRST = Place()


def asked(arguments: Mapping[str, str]) -> Place:
    """Return the place that a request's query `arguments` name; FIRST for none and for nonsense."""
    for name in ("before", "after"):
        position = _read(arguments.get(name, ""))
        if position is not None:
            return Place(position, newer=name == "after")
    return FIRST


def _read(text: str) -> Position | None:
    if not text or len(text) > LONGEST_POSITION or not text.isascii():
        return None
    try:
        stamp, _, number = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().rpartition("~")
        datetime.fromisoformat(stamp)
    except (ValueError, binascii.Error):
        return None
    if not (stamp.isascii() and number.isascii() and number.isdigit()):
        return None
    return Position(stamp, int(number)) if int(number) <= LARGEST_ID else None


def cut(
    rows: Sequence[T], positions: Sequence[Position], place: Place, size: int
) -> Page[T] | None:
    """Return the page of `size` rows made of up to `size + 1` rows read from `place` on.

    `rows` come in the order of reading, `positions` are theirs. None when the page would be short
    of rows that the first page has: past the end, or back at the top.
    """
    more = len(rows) > size
    rows, positions = list(rows[:size]), list(positions[:size])
    if place.position is not None and (not rows or (place.newer and len(rows) < size)):
        return None
    if place.newer:
        rows.reverse()
        positions.reverse()
    newer = more if place.newer else place.position is not None
    older = True if place.newer else more
    return Page(
        rows,
        f"after={positions[0]}" if newer else "",
        f"before={positions[-1]}" if older else "",
    )
