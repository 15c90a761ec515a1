"""Kinds of unhandled errors, counted until they are reported."""

import sqlalchemy as sa
from alembic import op

revision = "f4a9c6e20b71"
down_revision = "9d41c6e0b7f2"


def upgrade() -> None:
    op.create_table(
        "failure",
        sa.Column("fingerprint", sa.String(length=64), primary_key=True),
        sa.Column("kind", sa.String(length=255), nullable=False),
        sa.Column("route", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("traceback", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("first_seen", sa.DateTime(), nullable=False),
        sa.Column("last_seen", sa.DateTime(), nullable=False),
        sa.Column("mailed_at", sa.DateTime(), nullable=True),
    )
    op.create_index("ix_failure_last_seen", "failure", ["last_seen"])


def downgrade() -> None:
    op.drop_index("ix_failure_last_seen", table_name="failure")
    op.drop_table("failure")
