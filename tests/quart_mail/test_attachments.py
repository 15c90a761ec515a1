"""What Flask-Mail's own tests expect of attachments and alternatives."""

from __future__ import annotations

import email

import pytest

from app.quart_mail import Attachment, Mail

from .conftest import make_app
from .test_message import build


def test_attach_keeps_what_it_is_given() -> None:
    message = build()
    message.attach(data=b"this is a test", content_type="text/plain")
    attached = message.attachments[0]
    assert (attached.filename, attached.disposition) == (None, "attachment")
    assert (attached.content_type, attached.data) == ("text/plain", b"this is a test")


def test_an_attachments_type_is_guessed() -> None:
    assert Attachment("a.png", data=b"").content_type == "image/png"
    assert Attachment(data="text").content_type == "text/plain"
    assert Attachment(data=b"bytes").content_type == "application/octet-stream"


def test_an_attachment_without_data_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'data' argument is required"):
        Attachment("a.png")
    assert Attachment("empty.txt", data=b"").data == b""


def test_attachments_make_it_mixed() -> None:
    message = build(body="hello")
    message.attach(data=b"this is a test", content_type="text/plain", filename="test doc.txt")
    assert "Content-Type: multipart/mixed" in message.as_string()
    assert 'Content-Disposition: attachment; filename="test doc.txt"' in message.as_string()


NAME = "ünicöde ←→ ✓.txt"


def test_a_file_name_may_be_unicode() -> None:
    message = build(body="hello")
    message.attach(data=b"this is a test", content_type="text/plain", filename=NAME)
    part = [*email.message_from_string(message.as_string()).walk()][-1]
    assert part["Content-Disposition"] == (
        "attachment; filename*=UTF8''%C3%BCnic%C3%B6de%20%E2%86%90%E2%86%92%20%E2%9C%93.txt"
    )
    assert part.get_filename() == NAME


async def test_file_names_may_be_forced_to_ascii() -> None:
    app = make_app(MAIL_ASCII_ATTACHMENTS=True)
    Mail(app)
    message = build(body="hello")
    message.attach(data=b"test", content_type="text/plain", filename="ünicödeß ←.→ ✓.txt")
    async with app.app_context():
        text = message.as_string()
    assert 'Content-Disposition: attachment; filename="unicode . .txt"' in text


@pytest.mark.parametrize("alternative", ["html", "json"])
def test_alternatives_make_it_alternative(alternative: str) -> None:
    message = build(alts={alternative: "content"})
    assert message.alts[alternative] == "content"
    assert "Content-Type: multipart/alternative" in message.as_string()
    assert f'Content-Type: text/{alternative}; charset="utf-8"' in message.as_string()


def test_html_with_attachments_is_alternative_within_mixed() -> None:
    message = build(body="Hello World", html="<p>Hello World</p>")
    message.attach(data=b"this is a test", content_type="text/plain")
    mixed, body, plain, html, attachment = email.message_from_string(message.as_string()).walk()
    assert mixed.get_payload() == [body, attachment]
    assert body.get_payload() == [plain, html]
    assert (plain.get_payload(), html.get_payload()) == ("Hello World", "<p>Hello World</p>")
    assert attachment.get_payload(decode=True) == b"this is a test"
