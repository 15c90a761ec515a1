"""Make links of the addresses, mentions and tags in posts; everything else stays text.

`linked` reads a text in one pass and in linear time, because TOKEN does not backtrack.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from babel.core import get_global
from markupsafe import Markup, escape

from app.accounts.names import person_path
from app.posts.words import words

SHOWN_LENGTH = 40  # characters of an address that are shown

# An address ends at white space, at quotation marks and the punctuation of Chinese and Japanese, and at
# invisible characters and those that change the direction of writing, which could disguise where it leads.
ENDS = (
    r"""\s<>"\\^`{|}\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"""
    r"""\xab\xbb\u2018-\u201f\u2026\u2039\u203a\u3001\u3002\u3008-\u3011\uff01-\uff0f\uff1a-\uff20"""
)
# \w lacks combining marks, which many scripts need, and the joiners inside words in Persian.
MARKS = (
    r"\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u06d6-\u06ed\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece"
    r"\u0f18-\u0fbc\u102b-\u103e\u17b4-\u17d3\u200c\u200d"
)
JOINERS = "\u200c\u200d"
PUNCTUATION = ".,:;!?'*"  # at the end of an address it belongs to the sentence
OPENED_BY = {")": "(", "]": "["}

TOKEN = re.compile(
    rf"""
    (?<![A-Za-z0-9])
    (?P<address>[hH][tT][tT][pP][sS]?://(?![^\s/?\#]*@)\w[\w-]*+(?:\.\w[\w-]*+)*+(?::[0-9]{{1,5}}+)?+
        (?:[/?\#][^{ENDS}]*+)?+)
    | (?<![A-Za-z0-9_@&/])@(?P<name>\w[\w.-]{{0,63}}+)(?![\w@])
    | (?<![A-Za-z0-9_\#&/])\#(?=[\w{MARKS}]*?[^\W\d_])(?P<tag>[\w{MARKS}]++)
    """,
    re.VERBOSE,
)
ASCII_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?=[\u2e80-\U0003ffff])")
"""A name directly before a script that is written without spaces."""


# The first words of the Unicode names of letters, by the scripts of languages (ISO 15924).
SCRIPTS = {
    "Latn": {"LATIN"},
    "Cyrl": {"CYRILLIC"},
    "Hans": {"CJK"},
    "Hant": {"CJK"},
    "Jpan": {"CJK", "HIRAGANA", "KATAKANA"},
    "Kore": {"HANGUL", "CJK"},
    "Grek": {"GREEK"},
    "Arab": {"ARABIC"},
    "Hebr": {"HEBREW"},
    "Deva": {"DEVANAGARI"},
}


def can_be_in(language: str, text: str) -> bool:
    """Return whether `text` holds a letter of the script in which `language` is written, or no letters."""
    script = str(get_global("likely_subtags").get(language, "")).split("_")[1:2]
    expected = SCRIPTS.get("".join(script))
    used = {unicodedata.name(character, "").partition(" ")[0] for character in text if character.isalpha()}
    return expected is None or not used or not used.isdisjoint(expected)


def mentioned_names(text: str) -> set[str]:
    """Return every name that `text` may mention, such as "susan." and "susan" for "@susan."."""
    names = (match["name"] for match in TOKEN.finditer(text))
    return {spelling for name in names if name for spelling in _spellings(name)}


def _spellings(name: str) -> Iterator[str]:
    """Yield the usernames that `name` may mean, the longest first."""
    yield name
    yield name.rstrip(".-")
    if ascii_name := ASCII_NAME.match(name):
        yield ascii_name[0]
        yield ascii_name[0].rstrip(".-")


def linked(text: str, people: Mapping[str, str]) -> str:
    """Return `text` for a template: as it is, or as markup if it contains links.

    `people`: the usernames of the accounts it mentions, by the names that it calls them.
    """
    if "@" not in text and "#" not in text and "://" not in text:
        return text
    parts: list[str] = []
    end = 0
    while match := TOKEN.search(text, end):
        begin, found = match.start(), match.end()
        if match["address"]:
            address = _without_punctuation(match["address"])
            link, found = _address_link(address), begin + len(address)
        elif match["tag"] and _is_indexed(tag := match["tag"].rstrip(JOINERS), text, begin):
            link, found = _tag_link(tag), begin + 1 + len(tag)
        elif match["name"] and (name := next(filter(people.__contains__, _spellings(match["name"])), None)):
            link, found = _mention_link(name, people[name]), begin + 1 + len(name)
        else:
            link = escape(match[0])
        parts += escape(text[end:begin]), link
        end = found
    return Markup("").join((*parts, escape(text[end:]))) if parts else text


def _without_punctuation(address: str) -> str:
    """Return `address` without punctuation and closing brackets that belong to the sentence around it."""
    unopened = {close: address.count(close) - address.count(open_) for close, open_ in OPENED_BY.items()}
    end = len(address)
    while (last := address[end - 1]) in PUNCTUATION or unopened.get(last, 0) > 0:
        if last in unopened:
            unopened[last] -= 1
        end -= 1
    return address[:end]


def _address_link(address: str) -> Markup:
    shown = address.partition("://")[2]
    if len(shown) <= SHOWN_LENGTH:
        return Markup('<a href="{}" rel="nofollow ugc noopener">{}</a>').format(address, shown)
    return Markup('<a href="{}" rel="nofollow ugc noopener" title="{}">{}…</a>').format(
        address, address, shown[:SHOWN_LENGTH]
    )


def _mention_link(name: str, username: str) -> Markup:
    return Markup('<a href="{}">@{}</a>').format(person_path("user", username), name)


def _is_indexed(tag: str, text: str, begin: int) -> bool:
    """Return whether a search for `#tag` finds `text`, which has it at `begin`.

    The index folds a text as a whole: in "é#tag" it finds the letter e before the sign, and no tag.
    """
    end = begin + 1 + len(tag)
    neighbours = text[max(begin - 1, 0) : begin] + text[end : end + 1]
    return neighbours.isascii() or set(words(f"#{tag}")) <= set(words(text))


def _tag_link(tag: str) -> Markup:
    return Markup('<a href="/search?q=%23{}">#{}</a>').format(quote(tag, safe=""), tag)
