"""Bodies and headers in the character sets that Flask-Mail's tests know, and a few it breaks on."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import default
from typing import Any

import pytest

from app.quart_mail import Message, MessageError


def build(**given: Any) -> Message:
    given = {"sender": "from@example.com", "subject": "subject"} | given
    return Message(recipients=["foo@example.com"], **given)


def test_an_ascii_message_says_us_ascii() -> None:
    text = build(charset="us-ascii", body="normal ascii text").as_string()
    assert 'Content-Type: text/plain; charset="us-ascii"' in text
    assert "Subject: subject" in text
    html = build(charset="us-ascii", html="<h1>hello</h1>").as_string()
    assert 'Content-Type: text/html; charset="us-ascii"' in html


@pytest.mark.parametrize("given", [{"body": "ünicöde ←→ ✓"}, {"body": "ascii"}, {}])
def test_utf_8_is_the_default(given: dict[str, str]) -> None:
    message = build(html="ünicöde ←→ ✓", **given)
    message.attach(data=b"foobar", content_type="text/csv")
    text = message.as_string()
    assert 'Content-Type: text/plain; charset="utf-8"' in text
    assert 'Content-Type: text/html; charset="utf-8"' in text


def test_japanese_goes_out_as_iso_2022_jp() -> None:
    text = build(
        sender=("送信者", "from@example.com"),
        subject="表題",
        reply_to="返信先 <somebody@example.com>",
        body="内容",
        charset="shift_jis",
    ).as_string()
    for field in ("From", "Subject", "Reply-To"):
        assert f"{field}: =?iso-2022-jp?" in text
    assert "=?utf-8?" not in text
    assert 'Content-Type: text/plain; charset="iso-2022-jp"' in text
    parsed = BytesParser(policy=default).parsebytes(text.encode())
    assert parsed["Subject"] == "表題"
    assert parsed.get_content().rstrip() == "内容"


@pytest.mark.parametrize("charset", ["us-ascii", "iso-8859-1", "utf-16", "utf8", "UTF-8"])
def test_text_that_a_charset_cannot_hold_arrives_all_the_same(charset: str) -> None:
    message = build(subject="Zażółć", body="gęślą jaźń", charset=charset)
    parsed = BytesParser(policy=default).parsebytes(message.as_bytes())
    assert parsed["Subject"] == "Zażółć"
    assert parsed.get_content().rstrip() == "gęślą jaźń"


@pytest.mark.parametrize("charset", ["klingon", "utf-8\r\nX-Injected: 1", "utf 8 ;x"])
def test_a_charset_that_is_none_is_said(charset: str) -> None:
    with pytest.raises(MessageError, match="is not a known charset"):
        build(charset=charset, body="ü").as_bytes()


def test_a_lone_surrogate_becomes_a_question_mark_and_never_an_error() -> None:
    message = build(subject="a\ud800b", body="a\ud800b", sender=("a\ud800", "from@example.com"))
    parsed = BytesParser(policy=default).parsebytes(message.as_bytes())
    assert parsed["Subject"] == "a\ufffdb"
    assert parsed.get_content().rstrip() == "a?b"
