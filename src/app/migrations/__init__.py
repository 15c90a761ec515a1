"""Alembic's environment and revisions, shipped in the package; `microblog db` runs them."""

HEAD = "f4a9c6e20b71"
"""The newest revision, the one this version of the site works with; known without Alembic's 9 MB."""
