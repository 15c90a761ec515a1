"""What a server answers, fit to be stored and shown."""

from __future__ import annotations

from typing import NamedTuple

LONGEST_TEXT = 500  # characters of a text that are kept


class Reply(NamedTuple):
    """What an SMTP server answered: a three-digit code and its words."""

    code: int
    text: str


def is_transient(code: int) -> bool:
    """Say whether a reply code means "not now" (4yz, RFC 5321 4.2.1)."""
    return 400 <= code < 500


def printable(text: str) -> str:
    """Return ``text`` on one line, shortened, with escapes for what is not printable."""
    shown = text[:LONGEST_TEXT]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
    return shown if len(text) <= LONGEST_TEXT else f"{shown}..."
