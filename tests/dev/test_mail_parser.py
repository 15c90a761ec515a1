"""Mails are parsed for display, however malformed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.dev.mail_parser import ParsedMail, Summary, parse_mail, parse_summary
from tests.dev.conftest import letter


def test_encoded_headers_are_shown_as_meant() -> None:
    summary = parse_summary(
        b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n =?utf-8?b?8J+Mng==?=\r\n"
        b"From: =?iso-8859-1?q?J=FCrgen?= <j@example.com>\r\nTo: a@example.com,\r\n b@example.com\r\n\r\n"
    )

    assert summary == Summary(
        subject="Grüße🌞", sender="Jürgen <j@example.com>", to="a@example.com, b@example.com"
    )


@pytest.mark.parametrize(
    "value", ["=?no-such-charset?q?x?=", "=?utf-8?b?!!!?=", "=?utf-8?b?a?=", "=?=?=?", "=?utf-8?q?=FF=FE?="]
)
def test_headers_that_cannot_be_decoded_do_not_break(value: str) -> None:
    assert parse_summary(f"Subject: {value}\n\n".encode()).subject


def test_both_bodies_and_attachments_are_found() -> None:
    message = letter(text="Plain\n", html="<p>Rich</p>\n")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="x-thing", filename="Ω thing.bin")

    found = parse_mail(bytes(message))

    assert found.text == "Plain\n"
    assert found.html == "<p>Rich</p>\n"
    (part,) = found.parts
    assert (part.filename, part.content_type, part.data) == (
        "Ω thing.bin",
        "application/x-thing",
        b"\x00\x01",
    )


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("utf-8", "Grüße".encode(), "Grüße"),
        ("iso-8859-1", b"Gr\xfc\xdfe", "Grüße"),
        ("utf-8", b"Gr\xfc", "Gr\N{REPLACEMENT CHARACTER}"),
        ("no-such-charset", "Grüße".encode(), "Grüße"),
        ("base64", b"abc", "abc"),
    ],
)
def test_text_is_read_in_its_charset_or_as_well_as_can_be(charset: str, data: bytes, text: str) -> None:
    content = f'Content-Type: text/plain; charset="{charset}"\nContent-Transfer-Encoding: 8bit\n\n'.encode()

    assert parse_mail(content + data).text == text


def test_a_forwarded_mail_is_a_file() -> None:
    outer = letter(text="See below\n")
    outer.add_attachment(letter(subject="Inner", text="Inside\n"))

    found = parse_mail(bytes(outer))

    assert found.text == "See below\n"
    assert found.parts[0].filename == "message.eml"
    assert b"Subject: Inner" in found.parts[0].data


def test_a_thousand_nested_parts_are_shown_as_source() -> None:
    content = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n) for n in range(2000)
    )

    assert isinstance(parse_mail(content), ParsedMail)


def test_no_control_character_reaches_a_name() -> None:
    content = b'Content-Type: text/x; name="a\x00b\x1b[31m"\nContent-Disposition: attachment\n\nx'

    assert parse_mail(content).parts[0].filename == "a b [31m"


HEADERS = st.sampled_from(
    [
        b"Content-Type: multipart/mixed; boundary=b\n",
        b"Content-Type: multipart/alternative; boundary\n",
        b"Content-Type: text/html; charset*0*=utf-8''%FF; charset*1=x\n",
        b"Content-Type: text/plain; name*%s=x\n" % (b"9" * 5000),
        b"Content-Type: message/rfc822\n",
        b"Content-Transfer-Encoding: base64\n",
        b"Content-Transfer-Encoding: x-uuencode\n",
        b"Content-Disposition: attachment; filename*=nonsense'x'%00%0d%0a\n",
        b"Subject: =?utf-8?b?\n",
        b"From: \xff\xfe\x00\n",
        b"\n",
        b"--b\n",
        b"--b--\n",
        b"begin 644 x\n!!!\n",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(HEADERS, st.binary(max_size=40)), max_size=12).map(b"".join))
def test_no_garbage_breaks_the_reading(content: bytes) -> None:
    parse_mail(content)
    summary = parse_summary(content)

    assert all(c.isprintable() for c in summary.subject + summary.sender + summary.to)
