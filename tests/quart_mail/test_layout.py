"""What goes beyond Flask-Mail: inline images, several Reply-To, Auto-Submitted, header rules."""

from __future__ import annotations

import email
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import pytest

from app.quart_mail import Attachment, BadHeaderError, Mail, Message

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def build(**given: Any) -> Message:
    given = {"subject": "s", "sender": "from@example.com", "recipients": ["to@example.com"]} | given
    return Message(**given)


def parse(message: Message) -> EmailMessage:
    parsed = BytesParser(policy=default).parsebytes(message.as_bytes())
    assert isinstance(parsed, EmailMessage)
    assert not any(part.defects for part in parsed.walk())
    return parsed


def shape(part: Any) -> Any:
    """The tree of content types."""
    if not part.is_multipart() or part.get_content_type() == "message/rfc822":
        return part.get_content_type()
    return {part.get_content_type(): [shape(inner) for inner in part.iter_parts()]}


TEXT, HTML = "text/plain", "text/html"
BOTH = {"multipart/alternative": [TEXT, HTML]}
WITH_IMAGE = {"multipart/alternative": [TEXT, {"multipart/related": [HTML, "image/png"]}]}


@pytest.mark.parametrize(
    ("html", "inline", "attached", "expected"),
    [
        (False, False, False, TEXT),
        (True, False, False, BOTH),
        (False, False, True, {"multipart/mixed": [TEXT, "text/csv"]}),
        (True, False, True, {"multipart/mixed": [BOTH, "text/csv"]}),
        (True, True, False, WITH_IMAGE),
        (True, True, True, {"multipart/mixed": [WITH_IMAGE, "text/csv"]}),
        (False, True, False, {"multipart/mixed": [TEXT, "image/png"]}),
    ],
)
def test_the_layout_follows_what_there_is(
    html: bool, inline: bool, attached: bool, expected: Any
) -> None:
    message = build(body="text", html='<img src="cid:logo">' if html else None)
    if inline:
        message.attach("logo.png", data=PNG, content_id="logo")
    if attached:
        message.attach("a.csv", data="a;b")
    assert shape(parse(message)) == expected


def test_an_inline_image_is_found_by_its_content_id() -> None:
    message = build(html='<img src="cid:logo">')
    message.attach("logo.png", data=PNG, disposition="inline", headers={"Content-ID": "<logo>"})
    image = next(p for p in parse(message).walk() if p["Content-ID"] == "<logo>")
    assert image.get_content() == PNG
    assert image.get_content_disposition() == "inline"


def test_several_reply_to() -> None:
    message = build(reply_to=["a@example.com", ("Bé", "b@example.com")])
    assert parse(message)["Reply-To"] == "a@example.com, Bé <b@example.com>"


def test_auto_submitted_is_said_and_can_be_changed_or_dropped() -> None:
    assert parse(build())["Auto-Submitted"] == "auto-generated"
    changed = parse(build(extra_headers={"auto-submitted": "no"}))
    assert changed.get_all("Auto-Submitted") == ["no"]
    assert parse(build(extra_headers={"Auto-Submitted": None}))["Auto-Submitted"] is None


async def test_the_message_id_is_kept_over_sendings_and_can_be_given(mail: Mail) -> None:
    message = build()
    ids = set()
    for _ in range(3):
        await mail.send(message)
        ids.add(parse(message)["Message-ID"])
    assert ids == {message.msgId}
    assert parse(build(msg_id="<mine@example.com>"))["Message-ID"] == "<mine@example.com>"


def test_an_extra_header_replaces_ours_and_never_doubles_it() -> None:
    given = {"Date": "Thu, 01 Jan 1970 00:00:00 +0000", "MESSAGE-ID": "<x@y>", "Content-Type": "x"}
    parsed = parse(build(extra_headers=given | {"Bcc": "hidden@example.com"}))
    assert parsed.get_all("Date") == [given["Date"]]
    assert parsed.get_all("Message-ID") == ["<x@y>"]
    assert parsed.get_all("Content-Type") == ['text/plain; charset="utf-8"']
    assert parsed["Bcc"] is None


@pytest.mark.parametrize("name", ["a b", "a:b", "ä", "", "a\tb"])
async def test_what_is_no_header_name_is_refused(mail: Mail, name: str) -> None:
    with pytest.raises(BadHeaderError):
        await mail.send(build(extra_headers={name: "x"}))


async def test_a_list_address_too_long_for_any_line_is_refused(mail: Mail) -> None:
    with pytest.raises(BadHeaderError, match="List-Archive"):
        await mail.send(build(extra_headers={"List-Archive": f"<https://x/{'y' * 999}>"}))


def test_an_extra_header_in_unicode_is_encoded_and_a_long_one_folded() -> None:
    parsed = parse(build(extra_headers={"X-City": "Łódź " * 30, "X-Words": "word " * 60}))
    assert parsed["X-City"].split() == ["Łódź"] * 30
    assert parsed["X-Words"].split() == ["word"] * 60
    raw = build(extra_headers={"X-Words": "word " * 60}).as_bytes()
    assert max(map(len, raw.split(b"\r\n"))) <= 78


def test_long_address_lists_are_folded_between_addresses() -> None:
    many = [(f"Recipient, Number {n}", f"r{n}@example.com") for n in range(100)]
    message = build(recipients=many, cc=many)
    assert max(map(len, message.as_bytes().split(b"\r\n"))) <= 78
    parsed = parse(message)
    for field in ("To", "Cc"):
        found = [(a.display_name, a.addr_spec) for a in parsed[field].addresses]
        assert found == many


def test_a_name_too_long_for_any_line_is_folded() -> None:
    message = build(sender=("n" * 3000, "from@example.com"))
    assert max(map(len, message.as_bytes().split(b"\r\n"))) <= 998
    (address,) = parse(message)["From"].addresses
    # The standard library puts a space between encoded words of a name; RFC 2047 6.2 wants none.
    assert address.display_name.replace(" ", "") == "n" * 3000
    assert address.addr_spec == "from@example.com"


@pytest.mark.parametrize(
    "name", ['quo"te\\.txt', "a;b=c.txt", "文" * 40 + ".txt", "é" * 300 + ".txt", "x" * 1500]
)
def test_any_file_name_arrives(name: str) -> None:
    message = build(body="b")
    message.attach(name, "text/plain", b"x")
    raw = message.as_bytes()
    assert [*email.message_from_bytes(raw).walk()][-1].get_filename() == name
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_text_attached_as_text_says_its_charset() -> None:
    message = build(body="b")
    message.attach("a.txt", data="zażółć")
    (part,) = parse(message).iter_attachments()
    assert part.get_content() == "zażółć"


def test_an_attached_mail_is_not_in_base64() -> None:
    message = build(body="b")
    message.attach("m.eml", "message/rfc822", b"Subject: inner\n\nHello\n")
    (part,) = parse(message).iter_attachments()
    assert part.get_content()["Subject"] == "inner"


@pytest.mark.parametrize("content_type", ["plain", "text/", "text/plain\r\nX: y", ""])
def test_what_is_no_content_type_is_a_mistake(content_type: str) -> None:
    with pytest.raises(ValueError, match="is not a content type"):
        Attachment("a", content_type, b"")
