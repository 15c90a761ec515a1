"""Revisions are history: what they do does not change with the site."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from app.migrations import run

REVISIONS = sorted((run.FOLDER / "versions").glob("*.py"))


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_a_revision_imports_nothing_of_the_site(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "app").split(".")[0])
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
    assert "alembic" in imported
    assert "app" not in imported
