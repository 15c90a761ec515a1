"""Redirect targets that cannot leave this site."""

from __future__ import annotations

from urllib.parse import quote, unquote

LONGEST = 2000


def safe_path(target: str | None) -> str | None:
    r"""Return `target` as an ASCII path of this site, as a browser would resolve it, else None.

    Refused, also when percent-encoded: other hosts (`//e`, `/\e`, `https:e`), backslashes and control
    characters. Spaces are good only as %20. OWASP Unvalidated Redirects and Forwards Cheat Sheet.
    """
    if not target or len(target) > LONGEST or " " in target:
        return None
    plain = unquote(unquote(target))
    for form in (target, unquote(target), plain):
        if not form.startswith("/") or form.startswith("//") or "\\" in form:
            return None
        if any(ord(character) < 0x20 or 0x7F <= ord(character) <= 0xA0 for character in form):
            return None
    return quote(target, safe="/?&=%:@!$'()*+,;~#", errors="replace")
