"""The notifications of Microblog v0.21."""

import sqlalchemy as sa
from alembic import op

revision = "f7ac3d27bb1d"
down_revision = "d049de007ccf"


def upgrade() -> None:
    op.create_table(
        "notification",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("timestamp", sa.Float(), nullable=False),
        sa.Column("payload_json", sa.Text(), nullable=False),
    )
    op.create_index("ix_notification_name", "notification", ["name"])
    op.create_index("ix_notification_timestamp", "notification", ["timestamp"])
    op.create_index("ix_notification_user_id", "notification", ["user_id"])


def downgrade() -> None:
    op.drop_table("notification")
