"""The tokens of Microblog v0.23's API."""

import sqlalchemy as sa
from alembic import op

revision = "834b1a697901"
down_revision = "c81bac34faab"


def upgrade() -> None:
    op.add_column("user", sa.Column("token", sa.String(length=32), nullable=True))
    op.add_column("user", sa.Column("token_expiration", sa.DateTime(), nullable=True))
    op.create_index("ix_user_token", "user", ["token"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_user_token", table_name="user")
    op.drop_column("user", "token_expiration")
    op.drop_column("user", "token")
