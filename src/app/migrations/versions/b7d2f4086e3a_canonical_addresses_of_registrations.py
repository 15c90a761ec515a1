"""The canonical addresses of registrations, by which they are found whatever the case of any letter."""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "b7d2f4086e3a"
down_revision = "e3b90d5a7c16"

registration = sa.table(
    "registration",
    sa.column("id", sa.Integer),
    *(sa.column(name, sa.String) for name in ("email", "email_canonical")),
)


def upgrade() -> None:
    op.add_column("registration", sa.Column("email_canonical", sa.String(length=255), nullable=True))
    columns = registration.c
    for number, email in op.get_bind().execute(sa.select(columns.id, columns.email)).all():
        form = _canonical(email)
        op.execute(registration.update().where(columns.id == number).values(email_canonical=form))


def downgrade() -> None:
    op.drop_column("registration", "email_canonical")


def _canonical(text: str) -> str:
    """Return `text` in the form of today's rules, which stay the same here if the site's rules change."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.strip()).casefold())
