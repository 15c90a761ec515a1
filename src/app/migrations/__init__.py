"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "a3f52c8d9e17"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
