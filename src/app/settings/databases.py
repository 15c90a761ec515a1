"""The parser of a database's address."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.settings.parsing import Parser

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
POSTGRESQL_OPTIONS = {
    "ssl": "ssl",
    "sslmode": "ssl",
    "host": "host",
    "passfile": "passfile",
    "target_session_attrs": "target_session_attrs",
    "prepared_statement_cache_size": "prepared_statement_cache_size",
}
"""What may stand after the `?`, by the names of libpq or asyncpg, and what asyncpg calls it."""


def _address(raw: Any) -> str:
    try:
        url = make_url(str(raw).strip())
        url = url.set(drivername=DRIVERS[url.drivername])
        if url.drivername.startswith("postgresql"):
            url = url.set(query={POSTGRESQL_OPTIONS[key]: url.query[key] for key in url.query})
    except (ArgumentError, KeyError, ValueError):
        raise ValueError(raw) from None
    if url.drivername.startswith("sqlite") and url.database in {None, "", ":memory:"}:
        raise ValueError(raw)
    return url.render_as_string(hide_password=False)


address = Parser(
    _address,
    "sqlite:///path/to/file.db or postgresql://user:password@host/database, "
    f"after its ? at most {', '.join(POSTGRESQL_OPTIONS)}",
)
