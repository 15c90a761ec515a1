"""The package imports nothing from the site."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from app import quart_mail

# `app` is an empty package in this run, so that what else of it is loaded was asked for by quart_mail.
PROGRAM = """
import importlib, pkgutil, sys, types
app = sys.modules["app"] = types.ModuleType("app")
app.__path__ = [sys.argv[1]]
package = importlib.import_module("app.quart_mail")
for module in pkgutil.iter_modules(package.__path__):
    importlib.import_module(f"app.quart_mail.{module.name}")
print(*sorted(name for name in sys.modules if name.startswith("app.")))
"""


def test_nothing_else_of_the_site_is_imported() -> None:
    package = Path(quart_mail.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(package.parent)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = {f"app.quart_mail.{path.stem}" for path in package.glob("[!_]*.py")}
    assert set(done.stdout.split()) == own | {"app.quart_mail"}


def test_its_modules_know_each_other_in_one_direction_only() -> None:
    graph = {}
    for path in Path(quart_mail.__file__).parent.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text()))
        graph[path.stem] = {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.level}
    assert graph["mail"] >= {"message", "session"}
    TopologicalSorter(graph).prepare()
