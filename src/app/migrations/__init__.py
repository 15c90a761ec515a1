"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "d5b7f3a90c14"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
