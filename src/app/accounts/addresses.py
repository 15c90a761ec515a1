"""The addresses of people's pages and pictures."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, urlencode

from quart import Quart

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
