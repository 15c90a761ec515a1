"""The languages of posts, of Microblog v0.14. Its later revisions are a branch of their own."""

import sqlalchemy as sa
from alembic import op

revision = "2b017edaa91f"
down_revision = "ae346256b650"
branch_labels = "tutorial"


def upgrade() -> None:
    op.add_column("post", sa.Column("language", sa.String(length=5), nullable=True))


def downgrade() -> None:
    op.drop_column("post", "language")
