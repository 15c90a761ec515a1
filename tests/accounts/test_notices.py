"""The two bodies of each mail about an account say the same."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from quart import Quart

import app as package
from app.email import render
from tests.factories import NOON

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

MAILS = Path(package.__file__).parent / "templates" / "email"
NAMES = sorted(
    path.stem
    for path in MAILS.glob("*.txt")
    if path.stem not in {"_signature", "error_report", "new_user"}
)
CONTEXT = {
    "username": "susan<b>",
    "device": "Firefox on Linux",
    "at": NOON,
    "address": "new&old@example.com",
    "contact": "admin@example.com",
    "link": "http://127.0.0.1:8000/link",
    "login": "http://127.0.0.1:8000/login",
    "reset": "http://127.0.0.1:8000/reset",
    "sessions": "http://127.0.0.1:8000/sessions",
    "minutes": 10,
}


def words(text: str) -> list[str]:
    return re.findall(r"[\w:/.@&<>-]+", text)


@pytest.mark.parametrize("name", NAMES)
async def test_text_and_html_say_the_same(app: Quart, name: str) -> None:
    message = await render("susan@example.com", "Subject", f"email/{name}", **CONTEXT)
    assert message.body.startswith("Dear susan<b>,\n\n")
    assert message.body.endswith("Sincerely,\n\nThe Microblog Team")
    assert max(map(len, message.body.splitlines())) <= 76
    assert "susan&lt;b&gt;" in message.html
    assert "<b>" not in message.html
    shown = html.unescape(re.sub(r"<[^>]+>", " ", message.html.partition("<table")[2]))
    said = words(shown)
    for paragraph in message.body.split("\n\n"):
        expected = words(paragraph)
        starts = [n for n, word in enumerate(said) if word == expected[0]]
        assert any(said[n : n + len(expected)] == expected for n in starts), paragraph
    for address in re.findall(r"http://\S+", message.body):
        assert f'href="{address}"' in message.html


async def test_the_time_of_a_login_is_written_for_people(app: Quart) -> None:
    message = await render("susan@example.com", "Subject", "email/new_login", **CONTEXT)
    for body in (message.body, message.html):
        assert "Firefox on Linux, 20 Nov 2026, 12:00 UTC." in body
