"""The base class of tables, and types and rules for columns: times, and text that every database stores."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, ColumnElement, DateTime, Dialect, LargeBinary, String, Text, cast, type_coerce
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

AS_STORED = Text().with_variant(LargeBinary(), "sqlite")
"""The type of undecoded JSON: bytes on SQLite, because sqlite3 fails to fetch text that is not UTF-8."""


class Base(DeclarativeBase):
    """The base of every table's class."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, stored naive as Microblog stores it."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` as naive UTC; raise ValueError if it is naive already."""
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime for the database must be aware")
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored `value` as aware UTC."""
        return value and value.replace(tzinfo=UTC)


class StoredTime(TypeDecorator[str]):
    """A timestamp as text, exactly as stored, for page cursors.

    SQLite compares timestamps as text, and other programs store them with or without fractions of a second.
    A cursor that was converted to a datetime and back might not match its own row.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return text on SQLite, a timestamp elsewhere."""
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else DateTime())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Return the driver's value; raise ValueError for text that is not an ISO 8601 time."""
        if value is None or dialect.name == "sqlite":
            return value
        return datetime.fromisoformat(value).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the stored `value` as text."""
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a JSON object that cannot be decoded; `reason` does not quote its content."""

    reason: str

    def __str__(self) -> str:
        return f"unreadable ({self.reason})"


class JsonObject(TypeDecorator["dict[str, Any] | Unreadable"]):
    """A JSON object, read as Unreadable if it cannot be decoded, so that one bad row fails no other row.

    SQLite stores any text and any bytes in such a column. PostgreSQL checks the syntax, but not whether the
    value is an object, and has no limit for the digits of a number.
    """

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Select the stored text: a driver that decodes it would fail for the whole result."""
        return type_coerce(cast(column, AS_STORED), self)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], dict[str, Any] | Unreadable | None]:
        """Return the function that decodes what the driver returns."""
        return _decode


def _decode(stored: str | bytes | None) -> dict[str, Any] | Unreadable | None:
    if stored is None:
        return None
    try:
        value = json.loads(stored)
    except UnicodeDecodeError:
        return Unreadable("not UTF-8")
    except (ValueError, RecursionError):
        return Unreadable("not JSON")
    return value if isinstance(value, dict) else Unreadable("not a JSON object")


def is_storable(text: str) -> bool:
    """Return whether every database stores `text`: NUL and lone surrogates are refused."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
