"""Lists as parameters of a statement that is made once: its text names a place for each of PLACES values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import BindParameter, bindparam
from sqlalchemy.types import TypeEngine

PLACES = 8

T = TypeVar("T")


def places(name: str, kind: TypeEngine[T]) -> list[BindParameter[T]]:
    """Return the places of one list, for `column.in_(...)`."""
    return [bindparam(f"{name}{place}", type_=kind) for place in range(PLACES)]


def placed(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return `values` as the parameters of `places(name, ...)`; NULL, in what is left free, is in no list.

    Raises ValueError for more values than there are places.
    """
    if len(values) > PLACES:
        raise ValueError(f"{name}: {len(values)} values for {PLACES} places")
    filled = [*values, *[None] * (PLACES - len(values))]
    return {f"{name}{place}": value for place, value in enumerate(filled)}


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Give `values` so many at a time as there are places."""
    for first in range(0, len(values), PLACES):
        yield values[first : first + PLACES]
