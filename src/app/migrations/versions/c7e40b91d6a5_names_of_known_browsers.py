"""The User-Agent of known browsers, so that people recognize them on /sessions."""

import sqlalchemy as sa
from alembic import op

revision = "c7e40b91d6a5"
down_revision = "a3f52c8d9e17"


def upgrade() -> None:
    op.add_column(
        "known_device",
        sa.Column("user_agent", sa.String(length=255), server_default=sa.text("''"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("known_device", "user_agent")
