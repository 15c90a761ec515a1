"""The templates: what they escape, their languages, and the Content-Security-Policy they comply with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import Undefined
from markupsafe import Markup, escape
from quart import Quart, render_template, render_template_string

import app as package
from app.web.languages import find, speaking
from app.web.templating import escape_output

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


@pytest.mark.parametrize("value", ["a", "<b>&\"'", "я", 7, 1.5, True, None, Markup("<b>"), Undefined()])
def test_values_are_escaped_as_by_markupsafe(value: object) -> None:
    assert escape_output(value) == escape(value)


@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_templates_are_in_the_language_of_each_reader_in_turn(app: Quart) -> None:
    source = "{{ _('Explore') }} {{ 1 and _('Explore') }} {% include 'errors/error.html' %}"
    for code, word in {"en": "Explore", "ru": "Обзор", "es": "Explorar"}.items():
        async with app.test_request_context("/"):
            with speaking(find(code)):
                page = await render_template("errors/error.html", title="")
                text = await render_template_string(source, title="")
        assert f'<html lang="{code}"' in page
        assert text == f"{word} {word} {page}"
