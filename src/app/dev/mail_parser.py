"""Reading a mail for people: headers decoded, bodies found, whatever anybody may have sent.

The lenient `compat32` policy is on purpose: the newer one raises on some broken headers.
"""

from __future__ import annotations

import email
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser

# What the standard library is known to raise on garbage; RecursionError comes with a thousand nested parts.
UNREADABLE = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
ATTACHED = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Heading:
    """The headers that people look at, decoded; empty where missing."""

    subject: str = ""
    sender: str = ""
    to: str = ""
    cc: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A file that came with a mail, attached or inline (then with its `content_id`)."""

    filename: str
    content_type: str
    content_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A whole mail: all headers in order, its text and HTML body (None where missing), its files."""

    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    html: str | None = None
    parts: tuple[Part, ...] = ()


def read_heading(content: bytes) -> Heading:
    """Return what lists show of a mail; never raises, an unreadable one has an empty heading."""
    try:
        headers = {
            name.lower(): value for name, value in _headers(BytesHeaderParser().parsebytes(content))
        }
    except UNREADABLE:
        return Heading()
    return Heading(
        subject=headers.get("subject", ""),
        sender=headers.get("from", ""),
        to=headers.get("to", ""),
        cc=headers.get("cc", ""),
        date=headers.get("date", ""),
    )


def read_letter(content: bytes) -> Letter:
    """Return a mail taken apart; never raises, an unreadable one is all text."""
    try:
        return _take_apart(email.message_from_bytes(content))
    except UNREADABLE:
        return Letter(text=read_source(content))


def read_source(content: bytes) -> str:
    """Return the mail as it was sent, as UTF-8 as far as it is."""
    return content.decode("utf-8", "replace")


def _take_apart(message: Message) -> Letter:
    text = html = None
    parts: list[Part] = []
    for leaf in _leaves(message):
        kind = leaf.get_content_type()
        is_body = leaf.get_content_disposition() != "attachment" and not leaf.get_filename()
        if is_body and kind == "text/plain" and text is None:
            text = _body(leaf)
        elif is_body and kind == "text/html" and html is None:
            html = _body(leaf)
        else:
            parts.append(_part(leaf, number=len(parts) + 1))
    return Letter(headers=tuple(_headers(message)), text=text, html=html, parts=tuple(parts))


def _leaves(message: Message) -> Iterator[Message]:
    """Give the parts without parts; a forwarded mail is one, to be saved as a file."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        for child in message.get_payload():
            if isinstance(child, Message):
                yield from _leaves(child)
    else:
        yield message


def _body(leaf: Message) -> str:
    charset = leaf.get_content_charset() or "utf-8"
    data = _data(leaf)
    try:
        return data.decode(charset, "replace")
    except (LookupError, UnicodeError):
        return data.decode("utf-8", "replace")


def _part(leaf: Message, *, number: int) -> Part:
    name = leaf.get_filename() or ("message.eml" if leaf.is_multipart() else f"part-{number}")
    return Part(
        filename=_one_line(name),
        content_type=_one_line(leaf.get_content_type()) or ATTACHED,
        content_id=_one_line(str(leaf.get("Content-ID", ""))).strip("<> "),
        data=_data(leaf),
    )


def _data(leaf: Message) -> bytes:
    if leaf.is_multipart():
        return b"\n".join(
            part.as_bytes() for part in leaf.get_payload() if isinstance(part, Message)
        )
    data = leaf.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _headers(message: Message) -> Iterator[tuple[str, str]]:
    for name, value in message.raw_items():
        yield _one_line(name), _decoded(_one_line(str(value)))


def _decoded(value: str) -> str:
    """Decode the encoded words of RFC 2047; what cannot be decoded is shown as it was sent."""
    try:
        return (_one_line(str(make_header(decode_header(value)))) if "=?" in value else "") or value
    except (MessageError, ValueError, LookupError):
        return value


def _one_line(value: str) -> str:
    """Return printable text: bytes that came raw are read as UTF-8, control characters are blanks."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text.replace("\r\n", "")).strip()
