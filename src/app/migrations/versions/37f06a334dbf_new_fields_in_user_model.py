"""About me and last seen, of Microblog v0.10.

Revision ID: 37f06a334dbf
Revises: 780739b227a7
Create Date: 2017-09-14 10:54:13
"""

import sqlalchemy as sa
from alembic import op

revision = "37f06a334dbf"
down_revision = "780739b227a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user", sa.Column("about_me", sa.String(length=140), nullable=True))
    op.add_column("user", sa.Column("last_seen", sa.DateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("user", "last_seen")
    op.drop_column("user", "about_me")
