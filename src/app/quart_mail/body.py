"""Text bodies as bytes that survive any mail server."""

from __future__ import annotations

from binascii import b2a_qp
from email.charset import Charset

from .attachment import base64_lines
from .headers import LINE_LIMIT

_HIGH = bytes(range(128, 256))
_QP_PAYS = 6  # quoted-printable triples a byte, base64 adds a third: up to one byte in six


def text_part(text: str, content_type: str, codec: Charset) -> bytes:
    """Return a whole text part: Content-Type, Content-Transfer-Encoding, empty line, body."""
    raw, charset_name = _bytes(text, codec)
    encoding, payload = transfer(raw)
    head = (
        f'Content-Type: {content_type}; charset="{charset_name}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode("ascii") + payload


def _bytes(text: str, codec: Charset) -> tuple[bytes, str]:
    name = str(codec.get_output_charset())
    try:
        return text.encode(codec.output_codec or name), name
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace"), "utf-8"


def transfer(raw: bytes) -> tuple[str, bytes]:
    """Return (Content-Transfer-Encoding, encoded bytes) of a text.

    Lines ended by LF, or all by CRLF, are lines and arrive ended by CRLF (RFC 2046 4.1.1). What is
    neither (a bare CR, a mixture, UTF-16) goes in base64 and arrives byte for byte. No line gets
    over 998 bytes and nothing needs 8BITMIME.
    """
    if b"\r" in raw:
        breaks = raw.count(b"\r\n")
        if not breaks == raw.count(b"\r") == raw.count(b"\n"):
            return "base64", base64_lines(raw)
        lines = raw
    elif b"\0" in raw:
        return "base64", base64_lines(raw)
    else:
        lines = raw.replace(b"\n", b"\r\n")
    if raw.isascii():
        short = len(lines) <= LINE_LIMIT or max(map(len, lines.split(b"\r\n"))) <= LINE_LIMIT
        if short and b"\0" not in raw:
            return "7bit", lines
        return "quoted-printable", _quoted(lines)
    high = len(raw) - len(raw.translate(None, _HIGH))
    if high * _QP_PAYS > len(raw):
        return "base64", base64_lines(lines)
    return "quoted-printable", _quoted(lines)


def _quoted(lines: bytes) -> bytes:
    # b2a_qp breaks long lines as the first line of its input is ended, and by LF when none is.
    return b2a_qp(lines.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
