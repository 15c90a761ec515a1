"""benchmarks.mail runs; its speed is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_every_way_and_says_what_dominates() -> None:
    command = [sys.executable, "-m", "benchmarks.mail", "--count", "8", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    for way in ("thread per mail", "connect()", "connection each", "4 connections", "bare asyncio"):
        assert way in done.stdout
    assert "what dominates:" in done.stdout
