"""The passwords that everybody tries first: the 30,000 that zxcvbn knows to be the most frequent.

Source: NIST 800-63B-4 3.1.1.2 (a blocklist of commonly used values); the list is that of zxcvbn 4.5, sorted,
in lower case, one in a line (MIT licence: Dan Wheeler and Dropbox, Inc.; Python package by Daniel Wolf).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from app.accounts.names import canonical

LIST = Path(__file__).with_name("common_passwords.txt")


@cache
def _lines() -> bytes:
    """Return the list as it stands in the file: a quarter of a megabyte, a tenth of what a set would take."""
    return b"\n" + LIST.read_bytes()


def warm() -> None:
    """Read the list now, not while somebody waits."""
    _lines()


def is_common(password: str) -> bool:
    """Return whether `password`, whatever its case, is one that many people use."""
    word = password.casefold()
    return "\n" not in word and f"\n{word}\n".encode("utf-8", "replace") in _lines()


def is_one_of(password: str, *known: str) -> bool:
    """Return whether `password` is, whatever its case, something `known` of its owner, such as the name."""
    word = canonical(password)
    return any(word == canonical(text) for text in known if text)
