"""Replies, the number of replies to each post, the accounts that posts mention, and ids never reused.

SQLite reuses the highest id after its post is deleted, unless the table has AUTOINCREMENT, which takes a new
table.
"""

from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "d5b7f3a90c14"
down_revision = "c7e40b91d6a5"

REPLIES_ONLY = sa.text("reply_to IS NOT NULL")


def upgrade() -> None:
    with _altered_post(autoincrement=True) as post:
        post.add_column(sa.Column("reply_to", sa.Integer(), nullable=True))
        post.add_column(sa.Column("is_reply", sa.Boolean(), server_default=sa.false(), nullable=False))
        post.add_column(sa.Column("replies", sa.Integer(), server_default=sa.text("0"), nullable=False))
        post.create_foreign_key("fk_post_reply_to", "post", ["reply_to"], ["id"], ondelete="SET NULL")
    op.create_index(
        "ix_post_replies",
        "post",
        ["reply_to", "timestamp", "id"],
        sqlite_where=REPLIES_ONLY,
        postgresql_where=REPLIES_ONLY,
    )
    op.create_table(
        "mention",
        sa.Column("post_id", sa.Integer(), sa.ForeignKey("post.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.String(length=64), primary_key=True),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id", ondelete="CASCADE"), nullable=False),
    )
    op.create_index("ix_mention_user_id", "mention", ["user_id"])


def downgrade() -> None:
    op.drop_index("ix_mention_user_id", table_name="mention")
    op.drop_table("mention")
    op.drop_index("ix_post_replies", table_name="post")
    with _altered_post(autoincrement=False) as post:
        post.drop_constraint("fk_post_reply_to", type_="foreignkey")
        post.drop_column("replies")
        post.drop_column("is_reply")
        post.drop_column("reply_to")


def _altered_post(*, autoincrement: bool) -> AbstractContextManager[BatchOperations]:
    """Alter `post`; on SQLite copy it to a new table. Other tables refer to it by name."""
    options = {"sqlite_autoincrement": autoincrement}
    return op.batch_alter_table("post", recreate="auto", table_kwargs=options)
