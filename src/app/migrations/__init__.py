"""Alembic's environment and revisions, shipped in the package; `microblog db` runs them."""

HEAD_REVISION = "b62f80d4ca19"
"""The newest revision, the one this version of the site works with; known without Alembic's 9 MB."""
