"""The templates comply with the Content-Security-Policy: nothing inline, every form has an action."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import app as package

ROOT = Path(package.__file__).parent / "templates"
PAGES = sorted(path for path in ROOT.rglob("*.html") if path.parent.name != "email")
MAILS = sorted(ROOT.glob("email/*.html"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_hold_nothing_inline(path: Path) -> None:
    source = path.read_text()

    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", source)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", source))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_forms_name_their_action_and_carry_a_token(path: Path) -> None:
    source = path.read_text()
    forms = re.findall(r"<form.*?</form>", source, flags=re.DOTALL)

    assert len(forms) == source.count("<form")
    assert all(
        " action=" in form and ("csrf_token() }}" in form) == ('method="post"' in form) for form in forms
    )


@pytest.mark.parametrize("path", PAGES + MAILS, ids=lambda path: str(path.relative_to(ROOT)))
def test_autoescaping_is_never_turned_off(path: Path) -> None:
    assert not re.search(r"\|\s*safe\b|autoescape", path.read_text())


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.name)
def test_mails_load_nothing_and_have_a_text_version(path: Path) -> None:
    assert not re.search(r"<(img|link|script)\b|url\(", path.read_text())
    assert path.name.startswith("_") or path.with_suffix(".txt").exists()
