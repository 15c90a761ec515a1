"""Which passwords are too easy to guess: common ones, and the account's own name or address.

The list has the 30,000 most common passwords of zxcvbn 4.5, sorted, in lower case, one per line (MIT licence:
Dan Wheeler and Dropbox, Inc.; Python package by Daniel Wolf). NIST SP 800-63B-4 3.1.1.2 asks for such a list.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from app.accounts.names import canonical

LIST = Path(__file__).with_name("common_passwords.txt.gz")


@cache
def load() -> bytes:
    """Return the list with a newline around each password: 240 kB, a tenth of what a set would take."""
    return b"\n" + gzip.decompress(LIST.read_bytes())


def is_common(password: str) -> bool:
    """Return whether the list has `password`, whatever its case."""
    word = password.casefold()
    return "\n" not in word and f"\n{word}\n".encode("utf-8", "replace") in load()


def is_one_of(password: str, *names: str) -> bool:
    """Return whether `password` is one of `names`, whatever its case."""
    word = canonical(password)
    return any(word == canonical(name) for name in names if name)
