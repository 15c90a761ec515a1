"""Knowing a Microblog database, before anything in it is changed."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

TABLES = frozenset({"user", "post", "followers"})
REVISION_OF_FOLLOWERS = "ae346256b650"


class NotMicroblog(Exception):
    """A database that is none of ours, or of a version this one does not know; it was not touched."""


def recognise(connection: Connection, revisions: frozenset[str]) -> None:
    """Raise NotMicroblog unless the database is empty or a Microblog of one of `revisions`."""
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return
    if "alembic_version" not in tables:
        raise NotMicroblog(
            f"it holds tables ({', '.join(sorted(tables)[:3])}) that no Microblog of Flask-Migrate made"
        )
    found = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    unknown = [revision for revision in found if revision not in revisions]
    if unknown or len(found) > 1:
        raise NotMicroblog(
            f"it is at revision {', '.join(found)}, which this version does not know"
        )
    if found == [REVISION_OF_FOLLOWERS] and not tables >= TABLES:
        raise NotMicroblog(f"it has no table {', '.join(sorted(TABLES - tables))}")
