"""Which passwords are too easy to guess: common ones, repetitions, sequences, dates, and names.

The list has 53,000 entries, sorted, in lower case, one per line: the common passwords, first names and
surnames of zxcvbn 4.5 (MIT licence: Dan Wheeler and Dropbox, Inc.; Python package by Daniel Wolf) and the
common passwords of Django 5.2 (compiled by Royce Williams). NIST SP 800-63B-4 3.1.1.2 asks for such a list.
"""

import gzip
import re
import string
from functools import cache
from itertools import pairwise
from pathlib import Path

from app.accounts.names import canonical
from app.web.languages import lazy_gettext

COMMON = lazy_gettext("This password is too common. Please choose another one.")
REPETITION = lazy_gettext("This password repeats a few characters. Please choose another one.")
SEQUENCE = lazy_gettext("This password is a sequence, like 12345 or qwerty. Please choose another one.")
DATE = lazy_gettext("This password is a date. Please choose another one.")
SITE_NAME = lazy_gettext("Your password cannot be the name of this site, with or without digits.")
OWN_NAME = lazy_gettext("Your password cannot be your username or email address, with or without digits.")

LIST = Path(__file__).with_name("common_passwords.txt.gz")
SITE = "microblog"
LONGEST_REPEATED = 4
"""Characters. A password that repeats a longer text is judged by that text."""
SHORTEST_RUN = 3

KEYBOARD = (
    *(
        "1234567890",
        "!@#$%^&*()",
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
        "qwertzuiop",
        "yxcvbnm",
        "azertyuiop",
    ),
    *("1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
)
NEIGHBOURS = frozenset(pair for keys in KEYBOARD for row in (keys, keys[::-1]) for pair in pairwise(row))
MONTHS = "jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sep(t|tember)?|oct(ober)?"
MONTHS += "|nov(ember)?|dec(ember)?"
DAYS = "(mon|tues|wednes|thurs|fri|satur|sun)day|spring|summer|autumn|winter"
D, M, Y = "(0?[1-9]|[12][0-9]|3[01])", "(0?[1-9]|1[0-2])", "((19|20)?[0-9]{2})"
DATE_PATTERN = re.compile(f"{D}{M}{Y}|{M}{D}{Y}|{Y}{M}{D}|[0-9]{{0,4}}({MONTHS}|{DAYS})[0-9]{{0,8}}")
"""A date without separators, such as 19840512, 120584, 12may1984 or september2024."""


@cache
def load() -> bytes:
    """Return the list with a newline around each password: 430 kB, a tenth of what a set would take."""
    return b"\n" + gzip.decompress(LIST.read_bytes())


def weakness(password: str, *names: str) -> str | None:
    """Return why `password` is too easy to guess, as a sentence, or None. Case makes no difference.

    `names`: the account's name and address.
    """
    word = canonical(password)
    text = _repeated_part(word)
    core = _without_digits(text)
    if len(text) < len(word) and len(text) <= LONGEST_REPEATED:
        return REPETITION
    if all(length >= SHORTEST_RUN for length in _run_lengths(text)):
        return SEQUENCE
    if DATE_PATTERN.fullmatch(re.sub(r"[\s./_-]", "", text)):
        return DATE
    if core == SITE:
        return SITE_NAME
    own = {canonical(part) for name in names for part in (name, name.partition("@")[0]) if part}
    if text in own or (core and core in map(_without_digits, own)):
        return OWN_NAME
    return COMMON if _is_common(word) or _is_common(text) else None


def _is_common(word: str) -> bool:
    return "\n" not in word and f"\n{word}\n".encode("utf-8", "replace") in load()


def _repeated_part(word: str) -> str:
    """Return the shortest text whose repetition, perhaps cut short, is `word`, or `word` itself."""
    periods = range(1, len(word) // 2 + 1)
    return next((word[:period] for period in periods if word[period:] == word[:-period]), word)


def _without_digits(word: str) -> str:
    return word.strip(string.digits + string.punctuation)


def _run_lengths(word: str) -> list[int]:
    """Return the lengths of the runs that `word` consists of: neighbours by code point or on a keyboard."""
    lengths = [1]
    for pair in pairwise(word):
        if pair in NEIGHBOURS or abs(ord(pair[0]) - ord(pair[1])) <= 1:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths
