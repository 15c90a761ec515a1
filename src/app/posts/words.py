"""Split a text into words, for the search index and for queries.

The databases' own tokenizers differ from each other and between versions, drop the sign of `#tag`, and treat
a Chinese sentence as one word. So words are made here, and both databases store them unchanged.
"""

import re
import unicodedata
from collections.abc import Iterator

MAX_TEXT_LENGTH = 2000
"""Characters that are read. Posts have 140, but adopted SQLite files may hold any number."""

MAX_WORD_LENGTH = 100
"""Characters of a word that count. PostgreSQL refuses words of more than 2046 bytes."""

MAX_FOLDED = 10_000  # characters whose folded form is cached

# Combining accents of Latin, Greek and Cyrillic; Hebrew and Arabic vowel points; variation selectors.
ACCENTS = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\ufe00-\ufe0f]"
)
EXCEPTIONS: dict[str, str] = dict(zip("#йłøđħı\u00ad", ("#", "й", *"lodhi", ""), strict=True))
"""What is not folded by taking accents off; the last one is the soft hyphen."""

# Han, Hiragana and Katakana are written without spaces.
UNSPACED = (
    "\u3005\u3007\u3041-\u309f\u30a1-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
TOKEN = re.compile(r"((?<![a-z0-9])#+)?([^\W_][^\s#]*)")
PART = re.compile(f"[{UNSPACED}]+|[^{UNSPACED}]+")
SIGN = re.compile(f"[{UNSPACED}]")


def words(text: str) -> list[str]:
    """Return the different words of `text`, in order: `Crème #brûlée` gives creme, #brulee, brulee.

    Words are runs of letters and digits, without case and accents. A tag comes with its sign and without it.
    Han, Hiragana and Katakana become overlapping pairs and the last sign: 你好世 gives 你好, 好世, 世.
    """
    text = unicodedata.normalize("NFKC", text[:MAX_TEXT_LENGTH]).casefold()
    return list(dict.fromkeys(_words(unicodedata.normalize("NFKC", text).translate(_FOLDED))))


def is_sign(word: str) -> bool:
    """Return whether `word` is a single sign of Han, Hiragana or Katakana, which also begins pairs."""
    return SIGN.fullmatch(word) is not None


def _words(folded: str) -> Iterator[str]:
    for sign, token in TOKEN.findall(folded):
        if sign:
            yield f"#{token}"[:MAX_WORD_LENGTH]
        for part in PART.findall(token):
            if SIGN.match(part):
                yield from (part[start : start + 2] for start in range(len(part)))
            else:
                yield part[:MAX_WORD_LENGTH]


class _Folded(dict[int, str]):
    """The folded form of each character, for `str.translate`: a space if it cannot be part of a word."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if len(self) < MAX_FOLDED:
            self[code] = folded
        return folded


def _fold(character: str) -> str:
    if character in EXCEPTIONS:
        return EXCEPTIONS[character]
    bare = unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", character)))
    is_part = all(each.isalnum() or unicodedata.category(each) in ("Mn", "Mc") for each in bare)
    return EXCEPTIONS.get(bare, bare) if is_part else " "


_FOLDED = _Folded()
