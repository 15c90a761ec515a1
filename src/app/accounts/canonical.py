"""The form of a name or address by which two of them are the same."""

from __future__ import annotations

import unicodedata

LONGEST_FOLDED = 256
"""Characters. For a run of combining ones CPython takes the square of its length: minutes for a megabyte."""


def normalise(text: str) -> str:
    """Return `text` without white space around it and in NFKC, where it is short enough for a name."""
    text = text.strip()
    return text if len(text) > LONGEST_FOLDED else unicodedata.normalize("NFKC", text).strip()


def canonical(text: str) -> str:
    """Return `text` folded so that case and look-alike variants coincide (NFKC, then casefold).

    Text that is too long for any name or address only loses its case: it is nobody's. Only for comparing
    and for keys: mail goes to the address as stored, never to a typed or folded one (CVE-2019-19844).
    """
    text = text.strip()
    if len(text) > LONGEST_FOLDED:
        return text.casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
