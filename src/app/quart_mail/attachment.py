"""What is attached to a message, or shown inside its HTML."""

from __future__ import annotations

import re
import unicodedata
from binascii import b2a_base64
from mimetypes import guess_type
from urllib.parse import quote

from .headers import charset, clean, is_bad_field, is_bad_line, text_field

BASE64_LINE = 76  # characters, RFC 2045 6.8
PARAMETER_WANTED = 500  # characters of a file name in one piece; longer ones are continued

_CONTENT_TYPE = re.compile(
    r"^[!#-'*+.^_`|~\w-]+/[!#-'*+.^_`|~\w-]+(?:\s*;[^\r\n\x00]*)?$", re.ASCII
)
_SPACES = re.compile(r"\s+")


class Attachment:
    """A file with a message.

    ``data``: bytes, or text that is stored as UTF-8. ``content_type``: guessed from the name when
    not given. ``disposition``: "attachment", or "inline". ``headers``: more header fields of this
    part. ``content_id``: a name for use in the HTML as ``<img src="cid:NAME">``; makes it inline.

    Raises ValueError without ``data`` or with a content type that is none.
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
        """Say whether the HTML can refer to it: inline, and with a Content-ID."""
        return self.disposition == "inline" and any(k.lower() == "content-id" for k in self.headers)

    def has_bad_headers(self) -> bool:
        """Say whether the name, the disposition or a header holds a break or control character."""
        texts = (self.filename or "", self.disposition, self.content_type)
        return any(map(is_bad_line, texts)) or any(
            is_bad_field(name, str(value)) for name, value in self.headers.items()
        )

    def part(self, *, ascii_filename: bool = False) -> bytes:
        """Return the whole MIME part: header fields, an empty line, the data in base64."""
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
        as_lines = self.content_type.lower() == "message/rfc822" and mail_lines(data)
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
        name = ascii_name(self.filename) if ascii_filename else self.filename
        return f"{clean(self.disposition)}{filename_parameter(clean(name))}"


def ascii_name(filename: str) -> str:
    """Return a file name in ASCII: accents and what has no like in ASCII are left out."""
    bare = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode("ascii")
    return _SPACES.sub(" ", bare).strip()


def filename_parameter(name: str) -> str:
    """Return ``; filename=...`` as a Content-Disposition wants it (RFC 2183, RFC 2231)."""
    if name.isascii() and len(name) <= PARAMETER_WANTED:
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'; filename="{escaped}"'
    value = "UTF8''" + quote(name, safe="", errors="replace")
    if len(value) <= PARAMETER_WANTED:
        return f"; filename*={value}"
    size = PARAMETER_WANTED // 8
    pieces = re.findall(rf"(?:%..|[^%]){{1,{size}}}", value)
    return "".join(f";\r\n filename*{i}*={piece}" for i, piece in enumerate(pieces))


def base64_lines(data: bytes) -> bytes:
    """Return ``data`` in base64, in CRLF-ended lines of 76 characters."""
    whole = b2a_base64(data, newline=False)
    if len(whole) <= BASE64_LINE:
        return whole
    lines = [whole[at : at + BASE64_LINE] for at in range(0, len(whole), BASE64_LINE)]
    return b"\r\n".join(lines)


def mail_lines(data: bytes) -> bytes:
    """Return an attached mail in CRLF lines, or nothing when 7bit cannot hold it.

    RFC 2046 5.2.1 forbids base64 for message/rfc822; only what 7bit cannot hold still gets it.
    """
    lines = data.splitlines()
    if not data.isascii() or b"\0" in data or any(len(line) > 998 for line in lines):
        return b""
    return b"\r\n".join(lines)
