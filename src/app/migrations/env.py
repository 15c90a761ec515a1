"""Alembic's environment: it runs on the connection that `app.migrations.run` passes in."""

from typing import Any

from alembic import context

import app.accounts.models
import app.greeting
import app.messages
import app.outbox.models
import app.posts.models
import app.reports.failures  # noqa: F401 -- imported for the tables they declare
from app.database import Base

NOT_COMPARED = ("post_search", "ix_user_name_prefix")
"""The search index differs between the databases, and FTS5 keeps it in tables of its own."""


def is_compared(name: str | None, kind: str, parents: Any) -> bool:
    """Return whether Alembic compares a table or an index of the database with the models."""
    return not (name or "").startswith(NOT_COMPARED)


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    include_name=is_compared,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
