"""The base of tables, and what their columns hold: times, and text that every database stores."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine


class Base(DeclarativeBase):
    """The base of every table's class."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, stored naive as Microblog stores it."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` as naive UTC; a naive value is a ValueError."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime for the database must be aware")
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored `value` as aware UTC."""
        return value and value.replace(tzinfo=UTC)


class StoredTime(TypeDecorator[str]):
    """A timestamp as text, exactly as the database holds it: what a position in a timeline is made of.

    SQLite compares timestamps as the text that was stored, which rows of other programs write with or
    without fractions of a second; turned into a datetime and back they would not find themselves.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return text on SQLite, a timestamp elsewhere."""
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else DateTime())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Return what the driver takes; ValueError for text that is no ISO 8601 time."""
        if value is None or dialect.name == "sqlite":
            return value
        return datetime.fromisoformat(value).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the stored `value` as text."""
        return None if value is None else str(value)


def is_storable(text: str) -> bool:
    """Return whether every database stores `text`: NUL and lone surrogates are refused."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
