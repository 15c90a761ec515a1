"""benchmarks/mail.py runs; how fast is not a matter for a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "mail.py"


def test_it_measures_every_way_and_says_what_dominates() -> None:
    command = [sys.executable, str(BENCHMARK), "--count", "8", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    for way in ("thread per mail", "connect()", "connection each", "4 connections", "bare asyncio"):
        assert way in done.stdout
    assert "what dominates:" in done.stdout
