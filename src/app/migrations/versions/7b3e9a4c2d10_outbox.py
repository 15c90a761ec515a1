"""The outbox."""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "7b3e9a4c2d10"
down_revision = "5a0c7d1e9b34"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox_content",
        sa.Column("id", ID, primary_key=True),
        sa.Column("message", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("id", ID, primary_key=True),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("params", sa.JSON(), nullable=True),
        sa.Column("content_id", ID, sa.ForeignKey("outbox_content.id"), nullable=True),
        sa.Column("recipient", sa.String(length=320), nullable=True),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column("unique_key", sa.String(length=255), nullable=True, unique=True),
        sa.Column("about", sa.String(length=255), nullable=True),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("in_doubt", sa.Boolean(), nullable=False),
        sa.Column("claim_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("due_at", sa.DateTime(), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("handed_at", sa.DateTime(), nullable=True),
        sa.Column("done_at", sa.DateTime(), nullable=True),
        sa.Column("last_code", sa.Integer(), nullable=True),
        sa.Column("last_text", sa.String(length=500), nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_due", "outbox", ["priority", "due_at"])
    op.create_index("ix_outbox_about", "outbox", ["about", "kind", "handed_at"])
    op.create_index("ix_outbox_content_id", "outbox", ["content_id"])
    op.create_index("ix_outbox_expires_at", "outbox", ["expires_at"])
    op.create_index("ix_outbox_done_at", "outbox", ["done_at"])


def downgrade() -> None:
    waiting = op.get_bind().scalar(sa.text("SELECT count(*) FROM outbox WHERE due_at IS NOT NULL"))
    if waiting:
        raise CommandError(
            f"{waiting} mail{' is' if waiting == 1 else 's are'} waiting in the outbox, which earlier "
            f"revisions do not have; the schema stays at {revision}. Deliver waiting mail after "
            "`microblog db upgrade`, or delete it."
        )
    op.drop_table("outbox")
    op.drop_table("outbox_content")
