"""Bodies arrive byte for byte, whatever is in them, and the direct rendering parses."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.quart_mail import Message
from tests.smtp_server import AiosmtpdServer

from .conftest import MakeMail

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


TEXT = st.text(st.sampled_from("ab .=-\r\n\t\0ü👍"), max_size=200) | st.text(max_size=200)
NAME = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    body=TEXT, html=st.none() | TEXT, data=st.none() | st.binary(max_size=300), inline=st.booleans()
)
def test_what_is_rendered_the_standard_library_reads_back(
    body: str, html: str | None, data: bytes | None, inline: bool
) -> None:
    message = Message("s", ["to@example.com"], body, html, sender="from@example.com")
    if data is not None:
        message.attach("f.bin", data=data, content_id="f" if inline else None)
    parsed = read(message)
    parts = [p for p in parsed.walk() if not p.is_multipart()]
    found = [p.get_payload(decode=True) for p in parts]
    assert not any(p.defects for p in parsed.walk())
    expected = [wire_text(body.encode("utf-8", "replace").decode())]
    if html is not None:
        expected.append(wire_text(html.encode("utf-8", "replace").decode()))
    expected += [data] if data is not None else []
    assert found == expected


@settings(max_examples=150, deadline=None)
@given(subject=NAME, names=st.lists(NAME, min_size=1, max_size=4), extra=NAME)
def test_headers_that_are_rendered_the_standard_library_reads_back(
    subject: str, names: list[str], extra: str
) -> None:
    pairs = [(name, f"r{n}@example.com") for n, name in enumerate(names)]
    message = Message(subject, pairs, "b", sender=pairs[0], extra_headers={"X-Extra": extra})
    parsed = read(message)
    assert " ".join((parsed["Subject"] or "").split()) == " ".join(subject.split())
    assert " ".join(parsed["X-Extra"].split()) == " ".join(extra.split())
    assert [a.addr_spec for a in parsed["To"].addresses] == [spec for _, spec in pairs]
    shown = ["".join(a.display_name.split()) for a in parsed["To"].addresses]
    assert shown == ["".join(name.split()) for name, _ in pairs]


def read(message: Message) -> EmailMessage:
    raw = message.as_bytes()
    lines = raw.split(b"\r\n")
    assert raw.isascii()
    assert max(map(len, lines)) <= 998
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    parsed = BytesParser(policy=default).parsebytes(raw)
    assert isinstance(parsed, EmailMessage)
    return parsed
