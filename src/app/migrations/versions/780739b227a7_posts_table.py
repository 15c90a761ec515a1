"""The post table of Microblog v0.10."""

import sqlalchemy as sa
from alembic import op

revision = "780739b227a7"
down_revision = "e517276bb1c2"


def upgrade() -> None:
    op.create_table(
        "post",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("body", sa.String(length=140), nullable=False),
        sa.Column("timestamp", sa.DateTime(), nullable=False),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id"), nullable=False),
    )
    op.create_index("ix_post_timestamp", "post", ["timestamp"])
    op.create_index("ix_post_user_id", "post", ["user_id"])


def downgrade() -> None:
    op.drop_index("ix_post_user_id", table_name="post")
    op.drop_index("ix_post_timestamp", table_name="post")
    op.drop_table("post")
