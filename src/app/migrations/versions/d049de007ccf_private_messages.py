"""The private messages of Microblog v0.21."""

import sqlalchemy as sa
from alembic import op

revision = "d049de007ccf"
down_revision = "2b017edaa91f"


def upgrade() -> None:
    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("sender_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("recipient_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
        sa.Column("body", sa.String(length=140), nullable=False),
        sa.Column("timestamp", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_message_recipient_id", "message", ["recipient_id"])
    op.create_index("ix_message_sender_id", "message", ["sender_id"])
    op.create_index("ix_message_timestamp", "message", ["timestamp"])
    op.add_column("user", sa.Column("last_message_read_time", sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("user", "last_message_read_time")
    op.drop_table("message")
