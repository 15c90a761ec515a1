"""Browsers that accounts have logged in from, and registrations that wait for a confirmed address."""

import sqlalchemy as sa
from alembic import op

revision = "9d41c6e0b7f2"
down_revision = "e81f2b7d4c65"


def upgrade() -> None:
    op.create_table(
        "known_device",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("user_id", "digest"),
    )
    op.create_table(
        "registration",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=120), nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_registration_expires_at", "registration", ["expires_at"])


def downgrade() -> None:
    op.drop_index("ix_registration_expires_at", table_name="registration")
    op.drop_table("registration")
    op.drop_table("known_device")
