"""Indexes for timelines and profiles, and the table of the greeting page's names."""

import sqlalchemy as sa
from alembic import op

revision = "c3d81f6b2a07"
down_revision = "7b3e9a4c2d10"


def upgrade() -> None:
    op.drop_index("ix_post_timestamp", table_name="post", if_exists=True)
    op.drop_index("ix_post_user_id", table_name="post", if_exists=True)
    op.create_index("ix_post_timeline", "post", ["timestamp", "id", "user_id"])
    op.create_index("ix_post_author", "post", ["user_id", "timestamp", "id"])
    op.create_index("ix_followers_followed_id", "followers", ["followed_id"])
    op.create_table(
        "greeted",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(length=64), nullable=False, unique=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("greeted")
    op.drop_index("ix_followers_followed_id", table_name="followers")
    op.drop_index("ix_post_author", table_name="post")
    op.drop_index("ix_post_timeline", table_name="post")
    op.create_index("ix_post_user_id", "post", ["user_id"])
    op.create_index("ix_post_timestamp", "post", ["timestamp"])
