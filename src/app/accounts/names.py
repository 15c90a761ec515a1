"""Usernames and addresses: how they are compared, and the URLs made from them."""

import re
import unicodedata
from functools import lru_cache
from hashlib import blake2b, md5
from urllib.parse import quote, urlencode

from quart import current_app

MAX_NORMALIZED_LENGTH = 256
"""Characters. CPython normalizes a run of combining characters in quadratic time: minutes for a megabyte."""

SEPARATORS = re.compile(r"[._-]")
RESERVED = frozenset(
    {
        *("abuse", "admin", "administrator", "contact", "daemon", "help", "helpdesk", "hostmaster", "info"),
        *("mailerdaemon", "microblog", "moderator", "moderators", "noreply", "official", "operator", "owner"),
        *("postmaster", "root", "security", "staff", "superuser", "support", "sysadmin", "system", "team"),
        *("webmaster", "www"),
        *("all", "anonymous", "everybody", "everyone", "guest", "here", "me", "nobody", "user"),
        *("none", "null", "undefined"),
    }
)
"""Names of operators (see also RFC 2142), of everybody and of nobody; compared without SEPARATORS."""

DOT_SEGMENTS = frozenset({"", ".", ".."})
LISTS = ("followers", "following")
CACHED_PATHS = 10_000
WORD = re.compile(r"[^\W_]+")


def normalize(text: str) -> str:
    """Return `text` stripped and in NFKC; text that is too long for a name is only stripped."""
    text = text.strip()
    return text if len(text) > MAX_NORMALIZED_LENGTH else unicodedata.normalize("NFKC", text).strip()


def canonical(text: str) -> str:
    """Return the form in which two names or addresses are compared: NFKC, then casefolded.

    Text that is too long for any name or address is only casefolded. Use the result for comparisons and keys
    only: mail goes to the address as stored, never to a typed or canonical one (CVE-2019-19844).
    """
    text = text.strip()
    if len(text) > MAX_NORMALIZED_LENGTH:
        return text.casefold()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def is_reserved(username: str) -> bool:
    """Return whether no new account may be called `username`: "Admin" and "no-reply" may not."""
    return SEPARATORS.sub("", canonical(username)) in RESERVED


@lru_cache(maxsize=CACHED_PATHS)
def person_path(page: str, username: str) -> str:
    """Return the path of `page` ("user", "follow", "unfollow") for the person called `username`.

    Names like ".." or "a//b" in old databases go into the query: browsers remove dot segments from paths
    (RFC 3986 5.2.4), and servers merge slashes.
    """
    if _fits_into_path(username):
        return f"/{page}/{quote(username)}"
    return f"/{page}/?{urlencode({'name': username})}"


@lru_cache(maxsize=CACHED_PATHS)
def people_path(username: str, which: str) -> str:
    """Return the path of the list `which` ("followers", "following") of the person called `username`."""
    if _fits_into_path(username):
        return f"/user/{quote(username)}/{which}"
    return f"/user/-/{which}?{urlencode({'name': username})}"


def _fits_into_path(username: str) -> bool:
    """Return whether `username` can be a part of a path; "a/followers" would be the list of "a"."""
    segments = username.split("/")
    return DOT_SEGMENTS.isdisjoint(segments) and not (len(segments) > 1 and segments[-1] in LISTS)


@lru_cache(maxsize=CACHED_PATHS)
def _drawn_avatar(secret: str, user_id: int, username: str) -> str:
    """Return the path of a drawn avatar: a digest and the initials, "MO" for "mary.okafor"."""
    key = secret.encode()[: blake2b.MAX_KEY_SIZE]
    digest = blake2b(b"avatar:%d" % user_id, key=key, digest_size=16).hexdigest()
    words = WORD.findall(username)
    initials = "".join(word[0].upper()[0] for word in words[:1] + words[1:][-1:])
    return f"/avatar/{digest}-{quote(initials)}.svg"


def avatar_url(user_id: int, username: str, email: str, size: int) -> str:
    """Return the URL of an account's picture, `size` pixels square.

    With AVATARS=local it holds the initials and a keyed digest of the id, which reveals nothing about the
    address. BLAKE2 takes a third of the time of HMAC-SHA-256. Gravatar's name is the MD5 of the lower-cased
    address (docs.gravatar.com).
    """
    config = current_app.config
    if config["AVATARS"] == "local":
        return _drawn_avatar(config["SECRET_KEY"], user_id, username)
    digest = md5(email.lower().encode(), usedforsecurity=False).hexdigest()
    return f"https://www.gravatar.com/avatar/{digest}?d=identicon&s={size}"
