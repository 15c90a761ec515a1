"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "6f2b8d15c3e0"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
