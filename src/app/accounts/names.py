"""Names and addresses of people: how two of them are compared, and the URLs made from them."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from hashlib import md5
from urllib.parse import quote, urlencode

from quart import Quart, current_app

MAX_FOLDED_LENGTH = 256
"""Characters. CPython normalizes a run of combining characters in quadratic time: minutes for a megabyte."""

DOT_SEGMENTS = frozenset({"", ".", ".."})
CACHED_PATHS = 10_000


def init_app(app: Quart) -> None:
    """Let templates call `person_path(page, username)`."""
    app.jinja_env.globals["person_path"] = person_path


def normalize(text: str) -> str:
    """Return `text` without white space around it and in NFKC, where it is short enough for a name."""
    text = text.strip()
    return text if len(text) > MAX_FOLDED_LENGTH else unicodedata.normalize("NFKC", text).strip()


def canonical(text: str) -> str:
    """Return `text` folded so that case and look-alike variants coincide (NFKC, then casefold).

    Text that is too long for any name or address only loses its case: it is nobody's. Only for comparing
    and for keys: mail goes to the address as stored, never to a typed or folded one (CVE-2019-19844).
    """
    text = text.strip()
    if len(text) > MAX_FOLDED_LENGTH:
        return text.casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=CACHED_PATHS)
def person_path(page: str, username: str) -> str:
    """Return the path of `page` ("user", "follow", "unfollow") for the person called `username`.

    Names like ".." or "a//b", of old databases, do not survive in a path: browsers take dots out (RFC 3986
    5.2.4), servers merge slashes. They are named in the query.
    """
    if DOT_SEGMENTS.isdisjoint(username.split("/")):
        return f"/{page}/{quote(username)}"
    return f"/{page}/?{urlencode({'name': username})}"


def avatar_url(email: str, size: int) -> str:
    """Return the address of the picture for `email`, `size` pixels square.

    It is Gravatar's, or with AVATARS=local drawn here; both go by the MD5 of the lower-cased address
    (docs.gravatar.com).
    """
    digest = md5(email.lower().encode(), usedforsecurity=False).hexdigest()
    if current_app.config["AVATARS"] == "local":
        return f"/avatar/{digest}.svg"
    return f"https://www.gravatar.com/avatar/{digest}?d=identicon&s={size}"
