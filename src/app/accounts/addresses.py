"""The addresses of people's pages and pictures."""

from __future__ import annotations

from functools import lru_cache
from hashlib import md5
from urllib.parse import quote, urlencode

from quart import Quart, current_app

DOT_SEGMENTS = frozenset({"", ".", ".."})
REMEMBERED = 10_000


def init_app(app: Quart) -> None:
    """Let templates call `person_path(page, username)`."""
    app.jinja_env.globals["person_path"] = person_path


@lru_cache(maxsize=REMEMBERED)
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
