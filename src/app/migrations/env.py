"""Alembic's environment: it runs on the connection that `app.migrations.run` passes in."""

from alembic import context

import app.accounts.models
import app.greeting
import app.outbox.models
import app.posts.models
import app.reports.failures  # noqa: F401 -- imported for the tables they declare
from app.database import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
