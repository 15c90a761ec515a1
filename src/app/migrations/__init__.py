"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "e3b90d5a7c16"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
