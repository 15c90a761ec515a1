"""Alembic's environment and revisions, part of the package; `microblog db` runs them."""

HEAD_REVISION = "b7d2f4086e3a"
"""The newest revision, which this version needs. A constant, because importing Alembic takes 9 MB."""
