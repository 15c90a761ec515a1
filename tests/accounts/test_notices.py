"""The text and the HTML of each mail about an account have the same content."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from quart import Quart

import app as package
from app.mailer import render
from tests.clients import Visitor
from tests.factories import NOON, PASSWORD, logged_in
from tests.inspection import bodies, sent_by

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

MAILS = Path(package.__file__).parent / "templates" / "email"
NAMES = sorted(
    path.stem for path in MAILS.glob("*.txt") if path.stem not in {"_signature", "error_report", "new_user"}
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
    "explore": "http://127.0.0.1:8000/explore",
    "minutes": 10,
}


def words(text: str) -> list[str]:
    return [word.rstrip(".:") for word in re.findall(r"[\w:/.@&<>-]+", text)]


@pytest.mark.parametrize("name", NAMES)
async def test_text_and_html_say_the_same(app: Quart, name: str) -> None:
    message = await render("susan@example.com", "Subject", f"email/{name}", **CONTEXT)
    text, rich = bodies(message)
    assert text.startswith("Dear susan<b>,\n\n")
    assert "\n\nSincerely,\n\nThe Microblog Team\n\nYou are receiving this because " in text
    assert re.search(r"<h1[^>]*>[A-Z]", rich)
    assert rich.count('class="button"') <= 1
    assert max(map(len, text.splitlines())) <= 76
    assert "susan&lt;b&gt;" in rich
    assert "<b>" not in rich
    shown = html.unescape(re.sub(r"<[^>]+>", " ", rich.partition("<table")[2]))
    said = words(shown)
    for paragraph in re.split(r"\n\n(?:http\S+\n\n)?", text):
        expected = words(paragraph)
        starts = [n for n, word in enumerate(said) if word == expected[0]]
        assert any(said[n : n + len(expected)] == expected for n in starts), paragraph
    for address in re.findall(r"http://\S+", text):
        assert f'href="{address}"' in rich


@pytest.mark.parametrize("name", ["new_login", "password_changed", "email_change_asked", "email_changed"])
async def test_security_notices_say_when_and_from_which_browser(app: Quart, name: str) -> None:
    message = await render("susan@example.com", "Subject", f"email/{name}", **CONTEXT)
    for body in bodies(message):
        assert "20 Nov 2026, 12:00 UTC" in body
        assert "Firefox on Linux" in body


async def test_a_password_change_names_its_browser(app: Quart) -> None:
    visitor, _ = await logged_in(app, "susan")
    form = await visitor.get("/change_password")
    await visitor.client.post(
        "/change_password",
        form={
            "csrf_token": form.token,
            "current": PASSWORD,
            "password": "violet anchor",
            "password2": "violet anchor",
        },
        headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"},
    )
    [message] = await sent_by(app)
    for body in bodies(message):
        assert "Firefox on Linux" in body


@pytest.mark.parametrize("page", ["/change_password", "/change_email"])
async def test_an_account_causes_few_notices_to_its_address(
    app: Quart, monkeypatch: pytest.MonkeyPatch, page: str
) -> None:
    """The address need not belong to whoever has registered with it."""
    monkeypatch.setitem(app.config, "RATELIMIT_ENABLED", False)
    visitor, _ = await logged_in(app, "susan")
    current = PASSWORD
    for number in range(7):
        new = f"violet anchor {number}"
        fields = (
            {"password": new, "password2": new}
            if page == "/change_password"
            else {"email": "new@example.com"}
        )
        assert (await visitor.submit(page, current=current, **fields)).status == 302
        current = new if page == "/change_password" else current
    messages = await sent_by(app)
    assert len([message for message in messages if message.recipients == ["susan@example.com"]]) == 5


async def test_deleting_accounts_with_one_address_causes_few_mails_to_it(app: Quart) -> None:
    visitor = Visitor(app)
    subjects: list[str | None] = []
    for _ in range(7):
        await visitor.register("susan")
        await visitor.submit("/login", username="susan", password="correct horse")
        page = await visitor.submit("/delete_account", current="correct horse", sure="y")
        assert page.location == "/login"
        subjects += [message.subject for message in await sent_by(app)]
    assert subjects.count("[Microblog] Your account was deleted") == 5
