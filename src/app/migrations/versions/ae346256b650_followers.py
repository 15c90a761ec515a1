"""The followers table of Microblog v0.10."""

import sqlalchemy as sa
from alembic import op

revision = "ae346256b650"
down_revision = "37f06a334dbf"


def upgrade() -> None:
    op.create_table(
        "followers",
        sa.Column("follower_id", sa.Integer(), sa.ForeignKey("user.id"), primary_key=True),
        sa.Column("followed_id", sa.Integer(), sa.ForeignKey("user.id"), primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("followers")
