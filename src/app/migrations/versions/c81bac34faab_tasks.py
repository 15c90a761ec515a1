"""The background tasks of Microblog v0.22."""

import sqlalchemy as sa
from alembic import op

revision = "c81bac34faab"
down_revision = "f7ac3d27bb1d"


def upgrade() -> None:
    op.create_table(
        "task",
        sa.Column("id", sa.String(length=36), primary_key=True),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("description", sa.String(length=128), nullable=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_task_name", "task", ["name"])


def downgrade() -> None:
    op.drop_table("task")
