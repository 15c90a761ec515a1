"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "b62f80d4ca19"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
