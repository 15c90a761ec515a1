"""Header fields: validation, encoding (RFC 2047), folding (RFC 5322 2.2.3), Flask-Mail's helpers."""

import codecs
import re
from collections.abc import Iterable
from email.charset import SHORTEST, Charset
from email.header import Header
from functools import lru_cache
from typing import Any

from .address import Address, mailbox, quoted, split
from .errors import BadHeaderError, MessageError

PREFERRED_LINE = 78  # characters, RFC 5322 2.1.1
MAX_LINE = 998

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
    """Return the charset to use in mail for ``name`` (iso-2022-jp for shift_jis); raises MessageError."""
    wanted = name or "utf-8"
    try:
        if codecs.lookup(wanted).name == "utf-8":
            wanted = "utf-8"
    except (LookupError, ValueError) as error:
        raise MessageError(f"{wanted!r} is not a known charset.") from error
    if not _CHARSET_NAME.match(wanted):
        raise MessageError(f"{wanted!r} is not a known charset.")
    result = Charset(wanted)
    if wanted == "utf-8":
        result.header_encoding = SHORTEST
    return result


def is_bad_text(value: str) -> bool:
    """Return whether a header text would break out of its field; it may be folded (RFC 5322 2.2.3)."""
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
    """Return whether a value for a single line contains a line break or control character."""
    return _BREAKS.search(value) is not None


def is_bad_field(name: str, value: str) -> bool:
    """Return whether an extra header cannot be written as it is."""
    return _FIELD_NAME.match(name) is None or is_bad_text(value)


def clean(value: str) -> str:
    """Return a safe header text: unchanged if it is folded correctly, otherwise on one line."""
    return _BREAKS.sub("", value) if is_bad_text(value) else value


def words(text: str, codec: Charset, *, name: str | None = "", newline: str = "\r\n") -> str:
    """Return ``text`` as folded encoded words, in UTF-8 if ``codec`` cannot represent it."""
    text = _SURROGATE.sub("\ufffd", text)
    try:
        return Header(text, codec, header_name=name).encode(linesep=newline)
    except UnicodeError:
        return Header(text, charset("utf-8"), header_name=name).encode(linesep=newline)


def text_field(name: str, value: str, codec: Charset) -> str:
    """Return an unstructured field, folded, without the final CRLF.

    List-* fields contain URLs and are never encoded (RFC 2369). Raises BadHeaderError if one of them
    has a URL longer than a line may be.
    """
    value = clean(value)
    line = f"{name}: {value}"
    if len(line) <= PREFERRED_LINE and line.isascii():
        return line
    if not value.isascii():
        return f"{name}: {words(_UNFOLD.sub('', value), codec, name=name)}"
    has_urls = name.lower().startswith("list-")
    folded = fold(name, _URL_COMMA.sub(", ", value) if has_urls else value)
    if all(len(part) <= MAX_LINE for part in folded.split("\r\n")):
        return folded
    if has_urls:
        raise BadHeaderError(f"{name} contains a URL of more than {MAX_LINE} characters.")
    return f"{name}: {words(_UNFOLD.sub('', value), charset('utf-8'), name=name)}"


def fold(name: str, value: str) -> str:
    """Return ``name: value``, folded at white space into lines of 78 characters where possible."""
    first, *given = f" {value}".split("\r\n")
    lines = [f"{name}:"]
    for piece in _PIECES.findall(first):
        if len(lines) == 1 and lines[0] == f"{name}:":  # never a field name on a line of its own
            lines[0] += piece
        else:
            _append(lines, piece)
    for folded in given:
        lines.append("")
        for piece in _PIECES.findall(folded):
            _append(lines, piece)
    return "\r\n".join(lines)


def _append(lines: list[str], piece: str) -> None:
    if lines[-1] and len(lines[-1]) + len(piece) > PREFERRED_LINE:
        lines.append(piece)
    else:
        lines[-1] += piece


def address_field(name: str, addresses: Iterable[Address], codec: Charset) -> str:
    """Return an address field without duplicates, folded between addresses."""
    written = list(dict.fromkeys(formatted(address, codec) for address in addresses))
    line = f"{name}: " + ", ".join(written)
    if len(line) <= PREFERRED_LINE:
        return line
    lines = [f"{name}: {written[0]}"]
    for text in written[1:]:
        if len(lines[-1].rpartition("\n")[2]) + len(text) + 2 > PREFERRED_LINE:
            lines[-1] += ","
            lines.append(f" {text}")
        else:
            lines[-1] += f", {text}"
    return "\r\n".join(lines)


def formatted(address: Address, codec: Charset) -> str:
    """Return an address for a header: the name encoded or quoted, the domain in ASCII."""
    if isinstance(address, str) and is_bad_line(address):
        address = split(address)
    name, spec = mailbox(address)
    if not name:
        return spec
    if name.isascii() and len(name) <= PREFERRED_LINE * 2:
        return f"{quoted(name)} <{spec}>"
    return f"{words(name, codec if not name.isascii() else charset('utf-8'))} <{spec}>"


def sanitize_address(addr: Address, encoding: str = "utf-8") -> str:
    """Return an address for a header, as Flask-Mail's function does; raises BadAddressError.

    Unlike Flask-Mail's, a comma in the name is kept, line breaks are removed, domains follow IDNA 2008, and a
    non-ASCII local part stays as it is (SMTPUTF8).
    """
    name, spec = mailbox(split(addr))
    encoded = words(name, charset(encoding), name=None, newline="\n")
    return f"{encoded} <{spec}>" if name else spec


def sanitize_addresses(addresses: Iterable[Address], encoding: str = "utf-8") -> list[str]:
    """Return ``sanitize_address`` of each address; a single string is one address."""
    if isinstance(addresses, str):
        addresses = [addresses]
    return [sanitize_address(address, encoding) for address in addresses]


def sanitize_subject(subject: str, encoding: str = "utf-8") -> str:
    """Return a subject for a header, as Flask-Mail's function does, but without line breaks of its own."""
    subject = clean(subject)
    return subject if subject.isascii() else words(subject, charset(encoding), name=None, newline="\n")


def force_text(s: Any, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return text, decoded bytes, or the ``str`` of anything else; raises UnicodeDecodeError."""
    return s.decode(encoding, errors) if isinstance(s, bytes) else str(s)
