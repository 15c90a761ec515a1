"""Parse mails for display. No input makes the parser raise.

It uses the `compat32` policy because the newer one raises on some malformed headers.
"""

import email
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser

# What the standard library raises on malformed mail; RecursionError on a thousand nested parts.
PARSE_ERRORS = (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
ATTACHED = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Summary:
    """The decoded headers that the inbox lists; empty if missing."""

    subject: str = ""
    sender: str = ""
    to: str = ""
    cc: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment, or an inline file with its `content_id`."""

    filename: str
    content_type: str
    content_id: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """A mail: its headers in order, its text and HTML body (None if missing), and its files."""

    headers: tuple[tuple[str, str], ...] = ()
    text: str | None = None
    html: str | None = None
    parts: tuple[Part, ...] = ()


def parse_summary(content: bytes) -> Summary:
    """Return the headers that the inbox lists; all empty if the mail cannot be parsed."""
    try:
        headers = {name.lower(): value for name, value in _headers(BytesHeaderParser().parsebytes(content))}
    except PARSE_ERRORS:
        return Summary()
    return Summary(*(headers.get(name, "") for name in ("subject", "from", "to", "cc")))


def parse_mail(content: bytes) -> ParsedMail:
    """Parse a mail; one that cannot be parsed becomes a text body with the whole source."""
    try:
        return _parse(email.message_from_bytes(content))
    except PARSE_ERRORS:
        return ParsedMail(text=decode_source(content))


def decode_source(content: bytes) -> str:
    """Return the source as text, with replacement characters for bytes that are not UTF-8."""
    return content.decode("utf-8", "replace")


def _parse(message: Message) -> ParsedMail:
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
    return ParsedMail(headers=tuple(_headers(message)), text=text, html=html, parts=tuple(parts))


def _leaves(message: Message) -> Iterator[Message]:
    """Yield the parts that are not multipart. A forwarded mail counts as one file."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        for child in message.get_payload():
            if isinstance(child, Message):
                yield from _leaves(child)
    else:
        yield message


def _body(leaf: Message) -> str:
    data = _data(leaf)
    try:
        return data.decode(leaf.get_content_charset() or "utf-8", "replace")
    except (LookupError, UnicodeError):
        return decode_source(data)


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
        return b"\n".join(part.as_bytes() for part in leaf.get_payload() if isinstance(part, Message))
    data = leaf.get_payload(decode=True)
    return data if isinstance(data, bytes) else b""


def _headers(message: Message) -> Iterator[tuple[str, str]]:
    """Yield names and values, with encoded words (RFC 2047) decoded where that is possible."""
    for name, raw in message.raw_items():
        value = _one_line(str(raw))
        if "=?" in value:
            with suppress(MessageError, ValueError, LookupError):
                value = _one_line(str(make_header(decode_header(value)))) or value
        yield _one_line(name), value


def _one_line(value: str) -> str:
    """Return printable text: raw bytes are decoded as UTF-8, control characters become spaces."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text.replace("\r\n", "")).strip()
