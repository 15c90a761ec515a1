"""Header fields: checked, encoded (RFC 2047) and folded (RFC 5322 2.2.3)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from email.charset import SHORTEST, Charset
from email.header import Header
from functools import lru_cache

from .address import Address, mailbox, phrase, split
from .errors import BadHeaderError, MessageError

LINE_WANTED = 78  # characters, RFC 5322 2.1.1
LINE_LIMIT = 998

_BAD_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNFOLD = re.compile(r"\r\n(?=[ \t])")
_PIECES = re.compile(r"[ \t]*[^ \t]+(?:[ \t]+$)?")
_URL_COMMA = re.compile(r"(?<=>),(?=<)")
_FIELD_NAME = re.compile(r"^[\x21-\x39\x3b-\x7e]+$")
_CHARSET_NAME = re.compile(r"^[A-Za-z0-9._:-]+$")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@lru_cache(maxsize=32)
def charset(name: str | None) -> Charset:
    """Return how a character set is written in mail (shift_jis goes out as iso-2022-jp).

    Raises MessageError for one that is not known.
    """
    wanted = name or "utf-8"
    try:
        if codecs.lookup(wanted).name == "utf-8":
            wanted = "utf-8"
    except (LookupError, ValueError) as error:
        raise MessageError(f"{wanted!r} is not a known charset.") from error
    if not _CHARSET_NAME.match(wanted):
        raise MessageError(f"{wanted!r} is not a known charset.")
    found = Charset(wanted)
    if wanted == "utf-8":
        found.header_encoding = SHORTEST
    return found


def is_bad_text(value: str) -> bool:
    """Say whether a header text would break out of its field.

    CRLF followed by a space or tab and something visible is folding and allowed (RFC 5322 2.2.3).
    """
    if not ("\r" in value or "\n" in value):
        return _BAD_CONTROL.search(value) is not None
    lines = value.split("\r\n")
    return any(
        not line.strip()
        or "\r" in line
        or "\n" in line
        or _BAD_CONTROL.search(line) is not None
        or (number > 0 and line[0] not in " \t")
        for number, line in enumerate(lines)
    )


def is_bad_line(value: str) -> bool:
    """Say whether a value that must stay on one line holds a break or control character."""
    return _BREAKS.search(value) is not None


def is_bad_address(address: Address) -> bool:
    """Say whether a text or pair holds a line break or control character."""
    parts = (address,) if isinstance(address, str) else address
    return any(is_bad_line(str(part)) for part in parts if part)


def is_bad_field(name: str, value: str) -> bool:
    """Say whether an extra header could not be written as given."""
    return _FIELD_NAME.match(name) is None or is_bad_text(value)


def clean(value: str) -> str:
    """Return a header text that cannot break out: as it is when well folded, else on one line."""
    return _BREAKS.sub("", value) if is_bad_text(value) else value


def words(text: str, codec: Charset, *, name: str = "") -> str:
    """Return ``text`` as encoded words on folded lines, in UTF-8 if ``codec`` cannot hold it."""
    text = _UNFOLD.sub("", _SURROGATE.sub("\ufffd", text))
    try:
        return Header(text, codec, header_name=name).encode(linesep="\r\n")
    except UnicodeError:
        return Header(text, charset("utf-8"), header_name=name).encode(linesep="\r\n")


def text_field(name: str, value: str, codec: Charset) -> str:
    """Return a whole unstructured field, folded, without its closing CRLF.

    List-* fields hold URLs and are never encoded, however long (RFC 2369). Raises BadHeaderError
    when such a one cannot be brought under 998 characters a line.
    """
    value = clean(value)
    line = f"{name}: {value}"
    if len(line) <= LINE_WANTED and line.isascii():
        return line
    if not value.isascii():
        return f"{name}: {words(value, codec, name=name)}"
    urls = name.lower().startswith("list-")
    folded = fold(name, _URL_COMMA.sub(", ", value) if urls else value)
    if all(len(part) <= LINE_LIMIT for part in folded.split("\r\n")):
        return folded
    if urls:
        raise BadHeaderError(f"{name} holds an address of more than {LINE_LIMIT} characters.")
    return f"{name}: {words(value, charset('utf-8'), name=name)}"


def fold(name: str, value: str) -> str:
    """Return ``name: value`` broken before white space into lines of 78 characters if possible."""
    first, *given = f" {value}".split("\r\n")
    lines = [f"{name}:"]
    for piece in _PIECES.findall(first):
        if len(lines) == 1 and lines[0] == f"{name}:":  # never a name without any value
            lines[0] += piece
        else:
            _append(lines, piece)
    for folded in given:
        lines.append("")
        for piece in _PIECES.findall(folded):
            _append(lines, piece)
    return "\r\n".join(lines)


def _append(lines: list[str], piece: str) -> None:
    if lines[-1] and len(lines[-1]) + len(piece) > LINE_WANTED:
        lines.append(piece)
    else:
        lines[-1] += piece


def address_field(name: str, addresses: Iterable[Address], codec: Charset) -> str:
    """Return a whole address field, each address once, folded between addresses."""
    written = list(dict.fromkeys(formatted(address, codec) for address in addresses))
    line = f"{name}: " + ", ".join(written)
    if len(line) <= LINE_WANTED:
        return line
    lines = [f"{name}: {written[0]}"]
    for one in written[1:]:
        if len(lines[-1].rpartition("\n")[2]) + len(one) + 2 > LINE_WANTED:
            lines[-1] += ","
            lines.append(f" {one}")
        else:
            lines[-1] += f", {one}"
    return "\r\n".join(lines)


def formatted(address: Address, codec: Charset) -> str:
    """Return one address as a header holds it: the name encoded or quoted, the domain in ASCII."""
    if isinstance(address, str) and is_bad_line(address):
        address = split(address)
    name, spec = mailbox(address)
    if not name:
        return spec
    if name.isascii() and len(name) <= LINE_WANTED * 2:
        return f"{phrase(name)} <{spec}>"
    return f"{words(name, codec if not name.isascii() else charset('utf-8'))} <{spec}>"
