"""quart_mail could be published alone: it imports nothing of the site."""

from __future__ import annotations

import subprocess
import sys


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
