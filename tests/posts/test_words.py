"""The words of a text: the same for both databases, for posts and for queries."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from app.migrations.run import FOLDER
from app.posts.words import is_sign, words

TEXTS = {
    "Crème brûlée": ["creme", "brulee"],
    "Straße, STRASSE": ["strasse"],
    "ё Ё й мой": ["е", "й", "мой"],
    "你好世界": ["你好", "好世", "世界", "界"],
    "好": ["好"],
    "がぎ か": ["がぎ", "ぎ", "か"],
    "ｶﾞ": ["ガ"],
    "iPhone手机 ok": ["iphone", "手机", "机", "ok"],
    "#Tag": ["#tag", "tag"],
    "a#b (#c) ##d #": ["a", "b", "#c", "c", "#d", "d"],
    "#你好": ["#你好", "你好", "好"],
    "हिन्दी में।ठीक": ["हिन्दी", "में", "ठीक"],
    "안녕하세요": ["안녕하세요"],
    "שָׁלוֹם־עולם": ["שלום", "עולם"],
    "Łódź Ørsted Zu\u00adcker": ["lodz", "orsted", "zucker"],
    "under_score don't": ["under", "score", "don", "t"],
    "one two One": ["one", "two"],
    "½ ② 1\ufe0f\u20e3": ["1", "2"],
    "": [],
    "!? %_ \"' * ^": [],
    "\N{PARTY POPPER}\N{HEAVY BLACK HEART}\ufe0f" * 70: [],
    "a\0b \ud800": ["a", "b"],
    "\u202edrow\u202c": ["drow"],
    "\u0301\u0302": [],
}


@pytest.fixture(scope="module")
def revision() -> ModuleType:
    [path] = (FOLDER / "versions").glob("6f2b8d15c3e0_*.py")
    specification = importlib.util.spec_from_file_location("revision", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_folded_and_kept_once(text: str) -> None:
    assert words(text) == TEXTS[text]


@pytest.mark.parametrize("text", TEXTS)
def test_the_revision_that_fills_the_index_finds_the_same_words(revision: ModuleType, text: str) -> None:
    assert revision._words(text) == words(text)


def test_every_character_makes_words_that_both_databases_take_as_they_are() -> None:
    special = set(" \"'\\&|!:*()")
    for code in range(0, sys.maxunicode + 1, 7):
        for word in words(chr(code) * 2):
            assert word
            assert special.isdisjoint(word)


@pytest.mark.parametrize("letter", ["x", "ß", "\ufdf2", "\U00010400"])
def test_a_word_is_cut_to_what_postgresql_accepts(letter: str) -> None:
    [word] = words(letter * 140)
    assert len(word.encode()) < 2046


def test_a_long_text_is_read_in_part_so_that_marks_take_no_quadratic_time() -> None:
    assert words("a" + "\u0323\u0301" * 1_000_000 + " late") == ["a"]


def test_single_signs_are_recognized() -> None:
    assert is_sign("好")
    assert not any(map(is_sign, ["你好", "a", "", "#好", "안"]))
