"""Leave NULLs out of the outbox's indexes, because each mail is written three times."""

import sqlalchemy as sa
from alembic import op

revision = "b62f80d4ca19"
down_revision = "f4a9c6e20b71"

BEFORE = {
    "about": ["about", "kind", "handed_at"],
    "content_id": ["content_id"],
    "expires_at": ["expires_at"],
    "done_at": ["done_at"],
}
AFTER = BEFORE | {"about": ["about", "kind"]}


def upgrade() -> None:
    for column, columns in AFTER.items():
        op.drop_index(f"ix_outbox_{column}", table_name="outbox")
        some = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_outbox_{column}", "outbox", columns, sqlite_where=some, postgresql_where=some)


def downgrade() -> None:
    for column, columns in BEFORE.items():
        op.drop_index(f"ix_outbox_{column}", table_name="outbox")
        op.create_index(f"ix_outbox_{column}", "outbox", columns)
