"""Ids of accounts that are never reused, and whether an address was confirmed.

SQLite reuses the highest id after its account is deleted, unless the table has AUTOINCREMENT, which takes a
new table. Existing addresses count as confirmed, because nothing is known about them.
"""

import sqlalchemy as sa
from alembic import op

revision = "a3f52c8d9e17"
down_revision = "b62f80d4ca19"

HIGHEST_COUNTED_ID = "SELECT max(CAST(substr(about, 6) AS INTEGER)) FROM outbox WHERE about LIKE 'user:%'"
"""Includes accounts that were deleted since."""


def upgrade() -> None:
    op.add_column(
        "user", sa.Column("email_confirmed", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    user = sa.table("user", sa.column("email_confirmed", sa.Boolean()))
    op.execute(user.update().values(email_confirmed=True))
    if op.get_bind().dialect.name == "sqlite":
        _recreate_user(autoincrement=True)
        _raise_next_id(op.get_bind())


def downgrade() -> None:
    op.drop_column("user", "email_confirmed")
    if op.get_bind().dialect.name == "sqlite":
        _recreate_user(autoincrement=False)


def _recreate_user(*, autoincrement: bool) -> None:
    """Copy the table `user` to a new one; other tables refer to it by name."""
    options = {"sqlite_autoincrement": autoincrement}
    with op.batch_alter_table("user", recreate="always", table_kwargs=options):
        pass


def _raise_next_id(connection: sa.Connection) -> None:
    """Start new ids above those of deleted accounts whose mails were counted."""
    highest = connection.scalar(sa.text(HIGHEST_COUNTED_ID))
    if highest is None:
        return
    values = {"highest": highest}
    raised = "UPDATE sqlite_sequence SET seq = max(seq, :highest) WHERE name = 'user'"
    if not connection.execute(sa.text(raised), values).rowcount:
        new = "INSERT INTO sqlite_sequence (name, seq) VALUES ('user', :highest)"
        connection.execute(sa.text(new), values)
