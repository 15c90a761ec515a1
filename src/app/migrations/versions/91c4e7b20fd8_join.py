"""Join this site's revisions and those of Microblog v0.14 to v0.23."""

revision = "91c4e7b20fd8"
down_revision = ("6f2b8d15c3e0", "834b1a697901")


def upgrade() -> None:
    """Change nothing."""


def downgrade() -> None:
    """Change nothing."""
