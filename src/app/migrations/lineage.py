"""The order of the revisions, and the tables and columns that Microblog's own ones add.

Microblog's revisions after v0.10 and this site's are two branches, which a later revision joins. Each step is
a transaction of its own, so an upgrade or a downgrade that was stopped leaves a database at two revisions.
"""

from contextlib import suppress

from alembic.script import ScriptDirectory
from alembic.util import CommandError, to_tuple

Revisions = tuple[str, ...]
"""The revisions a database is at: none without tables, two if an upgrade or a downgrade has stopped."""

FORK = "ae346256b650"
JOIN = "91c4e7b20fd8"
QUART, TUTORIAL = "quart", "tutorial"  # the labels of the branches
TUTORIAL_BEGIN = "2b017edaa91f"
BASE = "base"  # Alembic's name for a database without tables

VERSIONS = {
    "v0.10": FORK,
    "v0.14": TUTORIAL_BEGIN,
    "v0.21": "f7ac3d27bb1d",
    "v0.22": "c81bac34faab",
    "v0.23": "834b1a697901",
}
"""The last revision of each version of Microblog that changed the schema."""

Columns = dict[str, tuple[str, ...]]
"""Columns of tables, by the table's name."""

COLUMNS: dict[str, Columns] = {
    "e517276bb1c2": {"user": ("id", "username", "email", "password_hash")},
    "780739b227a7": {"post": ("id", "body", "timestamp", "user_id")},
    "37f06a334dbf": {"user": ("about_me", "last_seen")},
    FORK: {"followers": ("follower_id", "followed_id")},
    TUTORIAL_BEGIN: {"post": ("language",)},
    "d049de007ccf": {
        "message": ("id", "sender_id", "recipient_id", "body", "timestamp"),
        "user": ("last_message_read_time",),
    },
    "f7ac3d27bb1d": {"notification": ("id", "name", "user_id", "timestamp", "payload_json")},
    "c81bac34faab": {"task": ("id", "name", "description", "user_id", "complete")},
    "834b1a697901": {"user": ("token", "token_expiration")},
}
"""What each of Microblog's revisions adds, in order. Those of `834b1a697901` are dropped after JOIN."""


class Lineage:
    """The revisions of a folder of migrations."""

    def __init__(self, folder: str) -> None:
        self._scripts = ScriptDirectory(folder)
        self._parents = {
            script.revision: to_tuple(script.down_revision, default=())
            for script in self._scripts.walk_revisions()
        }

    def __contains__(self, revision: str) -> bool:
        return revision in self._parents

    def find(self, revision: str) -> str:
        """Return the id of a revision: of a version such as `v0.23`, an id or its beginning, or `base`.

        Raises alembic's CommandError if there is none.
        """
        if revision == BASE:
            return BASE
        with suppress(CommandError):
            if script := self._scripts.get_revision(VERSIONS.get(revision, revision)):
                return script.revision
        versions = ", ".join(VERSIONS)
        raise CommandError(f"There is no revision {revision!r}; give the id of one, or one of {versions}.")

    def applied(self, *revisions: str) -> set[str]:
        """Return `revisions` and all those they build upon."""
        found, waiting = set[str](), [revision for revision in revisions if revision != BASE]
        while waiting:
            revision = waiting.pop()
            if revision not in found:
                found.add(revision)
                waiting += self._parents[revision]
        return found

    def beside(self, revision: str) -> str | None:
        """Return the label of the branch beside that of `revision`, None below FORK and above JOIN."""
        applied = self.applied(revision)
        if FORK not in applied or JOIN in applied or revision == FORK:
            return None
        return QUART if TUTORIAL_BEGIN in applied else TUTORIAL


def describe(revisions: Revisions) -> str:
    """Return `revisions` in words."""
    plural = "s" if len(revisions) > 1 else ""
    return f"revision{plural} {' and '.join(revisions)}" if revisions else f"{BASE} (no tables)"
