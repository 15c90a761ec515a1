"""quart_mail could be published alone: it imports nothing of the site."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from app import quart_mail


def test_nothing_else_of_the_site_is_imported() -> None:
    program = (
        "import sys, app; before = set(sys.modules); import app.quart_mail\n"
        "print(*(m for m in set(sys.modules) - before"
        " if m.startswith('app.') and not m.startswith('app.quart_mail')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_its_modules_know_each_other_in_one_direction_only() -> None:
    graph = {}
    for path in Path(quart_mail.__file__).parent.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text()))
        graph[path.stem] = {
            node.module for node in tree if isinstance(node, ast.ImportFrom) and node.level
        }
    assert graph["mail"] >= {"message", "pool"}
    TopologicalSorter(graph).prepare()
