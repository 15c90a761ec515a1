"""Canonical names, credential versions and login sessions."""

import sqlalchemy as sa
from alembic import op

revision = "5a0c7d1e9b34"
down_revision = "ae346256b650"
branch_labels = "quart"


def upgrade() -> None:
    op.add_column("user", sa.Column("username_canonical", sa.String(length=255), nullable=True))
    op.add_column("user", sa.Column("email_canonical", sa.String(length=255), nullable=True))
    op.add_column("user", sa.Column("credentials_version", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_user_username_canonical", "user", ["username_canonical"], unique=True)
    op.create_index("ix_user_email_canonical", "user", ["email_canonical"], unique=True)
    op.create_table(
        "login_session",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("token_digest", sa.String(length=64), nullable=False, unique=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("remember", sa.Boolean(), nullable=False),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
    )
    op.create_index("ix_login_session_user_id", "login_session", ["user_id"])


def downgrade() -> None:
    op.drop_index("ix_login_session_user_id", table_name="login_session")
    op.drop_table("login_session")
    op.drop_index("ix_user_email_canonical", table_name="user")
    op.drop_index("ix_user_username_canonical", table_name="user")
    op.drop_column("user", "credentials_version")
    op.drop_column("user", "email_canonical")
    op.drop_column("user", "username_canonical")
