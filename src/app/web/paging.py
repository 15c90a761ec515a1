"""Keyset paging: a page is found by a cursor instead of by counting rows.

A cursor is the time and id of a row at the edge of a page. Addresses carry it as `?before=...` (older rows)
or `?after=...` (newer ones). A cursor that cannot be read leads to the first page.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

MAX_CURSOR_LENGTH = 80
MAX_ID = 2**63 - 1


class Row(Protocol):
    """What a row needs for paging."""

    @property
    def id(self) -> int:
        """Its id, which orders rows of the same time."""

    @property
    def stamp(self) -> str:
        """Its time as the database holds it (ISO 8601)."""


T = TypeVar("T", bound=Row)


@dataclass(frozen=True, slots=True)
class PageCursor:
    """The row next to a page, and on which side of it the page is."""

    stamp: str
    id: int
    newer: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The rows of one page; `newer` and `older`: the queries of its neighbours, or ""."""

    rows: Sequence[T]
    newer: str = ""
    older: str = ""


def parse_cursor(arguments: Mapping[str, str]) -> PageCursor | None:
    """Return the cursor in a request's query `arguments`; None (the first page) if missing or invalid."""
    for name in ("before", "after"):
        cursor = _decode(arguments.get(name, ""), newer=name == "after")
        if cursor is not None:
            return cursor
    return None


def build_page(
    rows: Sequence[T], cursor: PageCursor | None, size: int, *, oldest_first: bool = False
) -> Page[T] | None:
    """Return the page made of up to `size + 1` rows read from `cursor` on, in the order of reading.

    The extra row only shows that there is another page. Returns None if the first page should be shown
    instead: past the end, or where going back does not fill a page.
    """
    more = len(rows) > size
    rows = list(rows[:size])
    goes_back = cursor is not None and cursor.newer is not oldest_first
    if not rows or (goes_back and len(rows) < size):
        return Page(rows) if cursor is None else None
    if goes_back:
        rows.reverse()
    has_previous, has_next = (more, True) if goes_back else (cursor is not None, more)
    older, newer = (has_previous, has_next) if oldest_first else (has_next, has_previous)
    newest, oldest = (rows[-1], rows[0]) if oldest_first else (rows[0], rows[-1])
    return Page(
        rows, newer=_query("after", newest) if newer else "", older=_query("before", oldest) if older else ""
    )


def _query(name: str, row: Row) -> str:
    cursor = urlsafe_b64encode(f"{row.stamp}~{row.id}".encode()).decode().rstrip("=")
    return f"{name}={cursor}"


def _decode(text: str, *, newer: bool) -> PageCursor | None:
    if not text or len(text) > MAX_CURSOR_LENGTH or not text.isascii():
        return None
    try:
        stamp, _, number = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().rpartition("~")
        datetime.fromisoformat(stamp)
    except (ValueError, binascii.Error):
        return None
    if not (stamp.isascii() and number.isascii() and number.isdigit()):
        return None
    return PageCursor(stamp, int(number), newer) if int(number) <= MAX_ID else None
