"""The columns about_me and last_seen of Microblog v0.10."""

import sqlalchemy as sa
from alembic import op

revision = "37f06a334dbf"
down_revision = "780739b227a7"


def upgrade() -> None:
    op.add_column("user", sa.Column("about_me", sa.String(length=140), nullable=True))
    op.add_column("user", sa.Column("last_seen", sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("user", "last_seen")
    op.drop_column("user", "about_me")
