"""Documents name files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks/README.md"]
PATH = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|html|css|js|toml|conf|md))(?:::\w+)?`|\]\(([\w./-]+)\)")
PLACES = (
    ROOT,
    ROOT / "src",
    ROOT / "src/app",
    ROOT / "src/app/templates",
    ROOT / "docs",
    ROOT / "benchmarks",
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_in_a_document_exists(document: Path) -> None:
    paths = {named or linked for named, linked in PATH.findall(document.read_text())}
    nowhere = {path for path in paths if not any((place / path).exists() for place in PLACES)}
    assert not nowhere
