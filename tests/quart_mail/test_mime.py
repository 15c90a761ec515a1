"""Messages as MIME: layout, headers, attachments, bodies and charsets."""

from __future__ import annotations

import email
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.quart_mail import Attachment, BadHeaderError, Mail, Message, MessageError
from tests.smtp_server import AiosmtpdServer

from .conftest import MakeMail, make_app

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
def test_the_mime_structure_depends_on_the_parts_present(
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


def test_auto_submitted_is_set_and_can_be_changed_or_dropped() -> None:
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
async def test_invalid_header_names_are_refused(mail: Mail, name: str) -> None:
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
def test_invalid_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(ValueError, match="is not a content type"):
        Attachment("a", content_type, b"")


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


def encoded(**given: Any) -> Message:
    given = {"sender": "from@example.com", "subject": "subject"} | given
    return Message(recipients=["foo@example.com"], **given)


def test_an_ascii_message_says_us_ascii() -> None:
    text = encoded(charset="us-ascii", body="normal ascii text").as_string()
    assert 'Content-Type: text/plain; charset="us-ascii"' in text
    assert "Subject: subject" in text
    html = encoded(charset="us-ascii", html="<h1>hello</h1>").as_string()
    assert 'Content-Type: text/html; charset="us-ascii"' in html


@pytest.mark.parametrize("given", [{"body": "ünicöde ←→ ✓"}, {"body": "ascii"}, {}])
def test_utf_8_is_the_default(given: dict[str, str]) -> None:
    message = encoded(html="ünicöde ←→ ✓", **given)
    message.attach(data=b"foobar", content_type="text/csv")
    text = message.as_string()
    assert 'Content-Type: text/plain; charset="utf-8"' in text
    assert 'Content-Type: text/html; charset="utf-8"' in text


def test_japanese_goes_out_as_iso_2022_jp() -> None:
    text = encoded(
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
    message = encoded(subject="Zażółć", body="gęślą jaźń", charset=charset)
    parsed = BytesParser(policy=default).parsebytes(message.as_bytes())
    assert parsed["Subject"] == "Zażółć"
    assert parsed.get_content().rstrip() == "gęślą jaźń"


@pytest.mark.parametrize("charset", ["klingon", "utf-8\r\nX-Injected: 1", "utf 8 ;x"])
def test_an_unknown_charset_is_refused(charset: str) -> None:
    with pytest.raises(MessageError, match="is not a known charset"):
        encoded(charset=charset, body="ü").as_bytes()


def test_a_lone_surrogate_becomes_a_question_mark_and_never_an_error() -> None:
    message = encoded(subject="a\ud800b", body="a\ud800b", sender=("a\ud800", "from@example.com"))
    parsed = BytesParser(policy=default).parsebytes(message.as_bytes())
    assert parsed["Subject"] == "a\ufffdb"
    assert parsed.get_content().rstrip() == "a?b"


BODIES = {
    "dots": ".\n..\n.hidden\n\n.\r\n",
    "dots at line ends": ".\r\n.\r\n..\r\n",
    "end of data": "before\r\n.\r\nQUIT\r\n",
    "bare CR": "a\rb\rc",
    "bare CR and LF": "a\rb\nc\r\nd\n\re",
    "mixed line ends": "a\nb\r\nc\n",
    "CR at the end": "line\r",
    "10 kB line": "x" * 10_000 + "\n" + "ü" * 10_000,
    "long lines of LF": ("y" * 2_000 + "\n") * 3,
    "empty": "",
    "one LF": "\n",
    "trailing spaces": "a  \n\t\n  \nb\t",
    "NUL": "a\0b",
    "boundary-like": "--=_a\n--\n-- \n--=_b--\n",
    "From": "From the start\nFrom: me\n",
    "equals": "a=b\n=\n==3D\n=20",
    "escape": "\x1b[31mred\x7f\x0b\x0c",
    "unicode line ends": "a\u2028b\u2029c\x85d",
    "emoji": "👍🏽\n" * 50,
}


def wire_text(body: str) -> bytes:
    """What a body should be once decoded: uniform line ends are CRLF, anything odd is untouched."""
    breaks = body.count("\r\n")
    if "\r" in body and not breaks == body.count("\r") == body.count("\n"):
        return body.encode()
    if "\0" in body and "\r" not in body:
        return body.encode()
    return body.replace("\r\n", "\n").replace("\n", "\r\n").encode()


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_bodies_arrive_byte_for_byte(make_mail: MakeMail, body: str) -> None:
    message = Message("s", ["to@example.com"], body, body, sender="from@example.com")
    message.attach("raw.bin", "application/octet-stream", body.encode())
    async with AiosmtpdServer() as catcher:
        mail = make_mail(catcher.port)
        await mail.send(message)
        await mail.send_message("plain", ["to@example.com"], body)
    plain, html = catcher.parsed(0).get_body(("plain",)), catcher.parsed(0).get_body(("html",))
    (attached,) = catcher.parsed(0).iter_attachments()
    assert plain is not None
    assert html is not None
    assert plain.get_payload(decode=True) == html.get_payload(decode=True) == wire_text(body)
    assert attached.get_payload(decode=True) == body.encode()
    # DATA always ends in CRLF: a text alone may have gained one.
    alone = catcher.parsed(1).get_payload(decode=True)
    assert alone in {wire_text(body), wire_text(body) + b"\r\n"}


BODY_TEXT = st.text(st.sampled_from("ab .=-\r\n\t\0ü👍"), max_size=200) | st.text(max_size=200)
HEADER_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    body=BODY_TEXT, html=st.none() | BODY_TEXT, data=st.none() | st.binary(max_size=300), inline=st.booleans()
)
def test_the_standard_library_parses_what_is_rendered(
    body: str, html: str | None, data: bytes | None, inline: bool
) -> None:
    message = Message("s", ["to@example.com"], body, html, sender="from@example.com")
    if data is not None:
        message.attach("f.bin", data=data, content_id="f" if inline else None)
    parsed = parse_strictly(message)
    parts = [p for p in parsed.walk() if not p.is_multipart()]
    found = [p.get_payload(decode=True) for p in parts]
    assert not any(p.defects for p in parsed.walk())
    expected = [wire_text(body.encode("utf-8", "replace").decode())]
    if html is not None:
        expected.append(wire_text(html.encode("utf-8", "replace").decode()))
    expected += [data] if data is not None else []
    assert found == expected


@settings(max_examples=150, deadline=None)
@given(subject=HEADER_TEXT, names=st.lists(HEADER_TEXT, min_size=1, max_size=4), extra=HEADER_TEXT)
def test_headers_that_are_rendered_the_standard_library_reads_back(
    subject: str, names: list[str], extra: str
) -> None:
    pairs = [(name, f"r{n}@example.com") for n, name in enumerate(names)]
    message = Message(subject, pairs, "b", sender=pairs[0], extra_headers={"X-Extra": extra})
    parsed = parse_strictly(message)
    assert " ".join((parsed["Subject"] or "").split()) == " ".join(subject.split())
    assert " ".join(parsed["X-Extra"].split()) == " ".join(extra.split())
    assert [a.addr_spec for a in parsed["To"].addresses] == [spec for _, spec in pairs]
    shown = ["".join(a.display_name.split()) for a in parsed["To"].addresses]
    assert shown == ["".join(name.split()) for name, _ in pairs]


def parse_strictly(message: Message) -> EmailMessage:
    raw = message.as_bytes()
    lines = raw.split(b"\r\n")
    assert raw.isascii()
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    parsed = BytesParser(policy=default).parsebytes(raw)
    assert isinstance(parsed, EmailMessage)
    return parsed
