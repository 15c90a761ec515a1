"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "c7e40b91d6a5"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
