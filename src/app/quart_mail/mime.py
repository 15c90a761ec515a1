"""Attachments and other MIME parts as bytes, assembled directly.

This renders a mail about 30 times as fast as the standard library's message objects and generator,
which would take longer than sending it (``benchmarks/mail.py`` prints the times). The price is that
this module and ``headers`` encode, fold and nest by themselves; tests parse the output with the
standard library and compare.
"""

import re
import unicodedata
from binascii import b2a_base64, b2a_qp
from collections.abc import Sequence
from email.charset import Charset
from mimetypes import guess_type
from urllib.parse import quote

from .headers import MAX_LINE, charset, clean, is_bad_field, is_bad_line, text_field

BASE64_LINE = 76  # characters, RFC 2045 6.8
MAX_PARAMETER = 500  # characters of a file name in one parameter; longer ones are continued

_CONTENT_TYPE = re.compile(r"^[!#-'*+.^_`|~\w-]+/[!#-'*+.^_`|~\w-]+(?:\s*;[^\r\n\x00]*)?$", re.ASCII)
_SPACES = re.compile(r"\s+")
_HIGH = bytes(range(128, 256))
_QP_LIMIT = 6  # quoted-printable is shorter than base64 up to one non-ASCII byte in six


class Attachment:
    """A file attached to a message, or an image shown in its HTML.

    ``data``: bytes, or text that is sent as UTF-8. ``content_type``: guessed from the name by
    default. ``disposition``: "attachment" or "inline". ``headers``: more header fields of this part.
    ``content_id``: makes it inline, for ``<img src="cid:NAME">`` in the HTML.

    Raises ValueError without ``data`` or if the content type is not valid.
    """

    def __init__(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: str | bytes | None = None,
        disposition: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        content_id: str | None = None,
    ) -> None:
        if data is None:
            raise ValueError("The 'data' argument is required.")
        self.data = data
        if content_type is None and filename is not None:
            content_type = guess_type(filename)[0]
        if content_type is None:
            content_type = "text/plain" if isinstance(data, str) else "application/octet-stream"
        if not _CONTENT_TYPE.match(content_type):
            raise ValueError(f"{content_type!r} is not a content type such as 'image/png'.")
        self.filename = filename
        self.content_type = content_type
        self.headers = dict(headers or {})
        if content_id is not None:
            self.headers["Content-ID"] = f"<{content_id.strip('<>')}>"
        self.disposition = disposition or ("attachment" if content_id is None else "inline")

    @property
    def is_inline(self) -> bool:
        """Whether the HTML can refer to it: it is inline and has a Content-ID."""
        return self.disposition == "inline" and any(k.lower() == "content-id" for k in self.headers)

    def has_bad_headers(self) -> bool:
        """Return whether the name, type or a header contains a line break or control character."""
        texts = (self.filename or "", self.disposition, self.content_type)
        return any(map(is_bad_line, texts)) or any(
            is_bad_field(name, str(value)) for name, value in self.headers.items()
        )

    def part(self, *, ascii_filename: bool = False) -> bytes:
        """Return the MIME part: header fields, an empty line, the data in base64."""
        data = self.data.encode("utf-8", "replace") if isinstance(self.data, str) else self.data
        given = {name.lower() for name in self.headers}
        fields = []
        if "content-type" not in given:
            fields.append(f"Content-Type: {self._full_type()}")
        if "content-disposition" not in given:
            fields.append(f"Content-Disposition: {self._full_disposition(ascii_filename)}")
        codec = charset("utf-8")
        fields += [
            text_field(clean(name), str(value), codec)
            for name, value in self.headers.items()
            if name.lower() != "content-transfer-encoding" and not is_bad_line(name)
        ]
        as_lines = self.content_type.lower() == "message/rfc822" and _rfc822_lines(data)
        fields.append(f"Content-Transfer-Encoding: {'7bit' if as_lines else 'base64'}")
        head = "\r\n".join(fields).encode("utf-8", "replace")
        return head + b"\r\n\r\n" + (as_lines or base64_lines(data))

    def _full_type(self) -> str:
        text = isinstance(self.data, str) and not self.data.isascii()
        if text and self.content_type.startswith("text/") and ";" not in self.content_type:
            return f'{self.content_type}; charset="utf-8"'
        return clean(self.content_type)

    def _full_disposition(self, ascii_filename: bool) -> str:
        if self.filename is None:
            return clean(self.disposition)
        name = _ascii_name(self.filename) if ascii_filename else self.filename
        return f"{clean(self.disposition)}{_filename_parameter(clean(name))}"


def multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """Return a multipart: its Content-Type, an empty line, the parts between boundaries."""
    mark = f"--{boundary}".encode("ascii")
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'.encode("ascii")
    inner = (b"\r\n" + mark + b"\r\n").join(parts)
    return b"".join((head, mark, b"\r\n", inner, b"\r\n", mark, b"--\r\n"))


def text_part(content: object, content_type: str, codec: Charset) -> bytes:
    """Return a text part; ``content`` is None, text, UTF-8 bytes or a lazy string."""
    if isinstance(content, bytes):
        content = content.decode("utf-8", "replace")
    text = "" if content is None else str(content)
    charset_name = str(codec.get_output_charset())
    try:
        raw = text.encode(codec.output_codec or charset_name)
    except UnicodeEncodeError:
        raw, charset_name = text.encode("utf-8", "replace"), "utf-8"
    encoding, payload = transfer(raw)
    head = (
        f'Content-Type: {content_type}; charset="{charset_name}"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode("ascii") + payload


def transfer(raw: bytes) -> tuple[str, bytes]:
    """Return (Content-Transfer-Encoding, encoded bytes) of a text.

    If all lines end in LF, or all in CRLF, they are sent with CRLF (RFC 2046 4.1.1). Anything else (a
    bare CR, mixed endings, UTF-16) is sent in base64 and arrives byte for byte. No line exceeds 998
    bytes, and 8BITMIME is not needed.
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
        short = len(lines) <= MAX_LINE or max(map(len, lines.split(b"\r\n"))) <= MAX_LINE
        if short and b"\0" not in raw:
            return "7bit", lines
        return "quoted-printable", _quoted(lines)
    high = len(raw) - len(raw.translate(None, _HIGH))
    if high * _QP_LIMIT > len(raw):
        return "base64", base64_lines(lines)
    return "quoted-printable", _quoted(lines)


def _quoted(lines: bytes) -> bytes:
    # b2a_qp ends the lines it wraps like the first line of its input, and by LF if there is none.
    return b2a_qp(lines.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def _ascii_name(filename: str) -> str:
    """Return a file name in ASCII, without accents and characters that have no ASCII form."""
    bare = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode("ascii")
    return _SPACES.sub(" ", bare).strip()


def _filename_parameter(name: str) -> str:
    """Return ``; filename=...`` for Content-Disposition (RFC 2183, RFC 2231)."""
    if name.isascii() and len(name) <= MAX_PARAMETER:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'; filename="{escaped}"'
    value = "UTF8''" + quote(name, safe="", errors="replace")
    if len(value) <= MAX_PARAMETER:
        return f"; filename*={value}"
    size = MAX_PARAMETER // 8
    pieces = re.findall(rf"(?:%..|[^%]){{1,{size}}}", value)
    return "".join(f";\r\n filename*{i}*={piece}" for i, piece in enumerate(pieces))


def base64_lines(data: bytes) -> bytes:
    """Return ``data`` in base64, in CRLF-ended lines of 76 characters."""
    whole = b2a_base64(data, newline=False)
    if len(whole) <= BASE64_LINE:
        return whole
    lines = [whole[at : at + BASE64_LINE] for at in range(0, len(whole), BASE64_LINE)]
    return b"\r\n".join(lines)


def _rfc822_lines(data: bytes) -> bytes:
    """Return an attached mail in CRLF lines, or b"" if it cannot be sent as 7bit.

    RFC 2046 5.2.1 forbids base64 for message/rfc822, so it is only the last resort.
    """
    lines = data.splitlines()
    if not data.isascii() or b"\0" in data or any(len(line) > 998 for line in lines):
        return b""
    return b"\r\n".join(lines)
