"""The followers table of Microblog v0.10."""

import sqlalchemy as sa
from alembic import op

revision = "ae346256b650"
down_revision = "37f06a334dbf"


def upgrade() -> None:
    op.create_table(
        "followers",
        sa.Column("follower_id", sa.Integer(), nullable=False),
        sa.Column("followed_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["followed_id"], ["user.id"]),
        sa.ForeignKeyConstraint(["follower_id"], ["user.id"]),
        sa.PrimaryKeyConstraint("follower_id", "followed_id"),
    )


def downgrade() -> None:
    op.drop_table("followers")
