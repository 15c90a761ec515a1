"""The form of a name or address by which two of them are the same."""

from __future__ import annotations

import unicodedata


def canonical(text: str) -> str:
    """Return `text` folded so that case and look-alike variants coincide (NFKC, then casefold).

    Only for comparing and for keys: mail goes to the address as stored, never to a typed or folded one
    (CVE-2019-19844).
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.strip()).casefold())
