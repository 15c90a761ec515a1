"""Mail addresses: parsing, validation, and their forms in headers and in the envelope."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import idna

from .errors import BadAddressError

Address = str | tuple[str, str]
"""``"ann@example.com"``, ``"Ann <ann@example.com>"`` or ``("Ann", "ann@example.com")``."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ANGLE = re.compile(r"^(?P<name>.*?)\s*<(?P<spec>[^<>]*)>[\s>]*(?:\([^()]*\))?$", re.DOTALL)
_COMMENT = re.compile(r"^(?P<spec>\S+@\S+)\s+\((?P<name>[^()]*)\)$")
_QUOTED = re.compile(r'^"(?P<inner>(?:[^"\\]|\\.)*)"$', re.DOTALL)
SPECIALS = re.compile(r'[][\\()<>@,:;".]')
_AMBIGUOUS = re.compile(r'[<>@,;:"\\()]')
_LOCAL_QUOTED = re.compile(r'^"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"$')
_LOCAL_PLAIN = re.compile(r'^[^\s()<>\[\]:;@\\,"\x00-\x1f\x7f]+$')
_DOMAIN = re.compile(r"^(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[A-Za-z0-9:._-]+\])$")


class Mailbox(NamedTuple):
    """A display name ("" for none) and an addr-spec whose domain is ASCII (A-labels)."""

    name: str
    spec: str


def split(address: Address) -> tuple[str, str]:
    """Return (name, addr-spec) of an address as written, without control characters.

    A comma in an unquoted name is part of the name. The standard library's ``parseaddr`` takes it for
    a list separator and loses the address.
    """
    if not isinstance(address, str):
        name, spec = address
        return CONTROL.sub("", str(name or "")).strip(), CONTROL.sub("", str(spec)).strip(" <>")
    text = CONTROL.sub("", str(address)).strip()
    if match := _ANGLE.match(text):
        name, spec = match["name"].strip(), match["spec"].strip()
        if quoted := _QUOTED.match(name):
            return re.sub(r"\\(.)", r"\1", quoted["inner"]), spec
        if "@" in name and "," in name:
            raise BadAddressError(f"{text!r} contains more than one address; use a list.")
        return name, spec
    if match := _COMMENT.match(text):
        return match["name"].strip(), match["spec"]
    return "", text


@lru_cache(maxsize=2048)
def mailbox(address: Address) -> Mailbox:
    """Parse an address; raises BadAddressError if SMTP commands cannot hold it (RFC 5321 4.1.2)."""
    name, spec = split(address)
    local, at, domain = spec.rpartition("@") if "@" in spec else (spec, "", "")
    if not (_LOCAL_PLAIN.match(local) or _LOCAL_QUOTED.match(local)):
        raise BadAddressError(f"{spec!r} is not a mail address.")
    return Mailbox(name, f"{local}@{ascii_domain(domain)}" if at else local)


def ascii_domain(domain: str) -> str:
    """Return a domain in ASCII (A-labels by IDNA 2008, UTS 46); raises BadAddressError."""
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise BadAddressError(f"{domain!r} is not a domain name: {error}") from error
    if not _DOMAIN.match(domain):
        raise BadAddressError(f"{domain!r} is not a domain name.")
    return domain


def domain_of(address: Address | None) -> str | None:
    """Return the ASCII domain of an address, or None if there is no valid one."""
    try:
        spec = mailbox(address).spec if address else ""
    except BadAddressError:
        return None
    return spec.rpartition("@")[2] if "@" in spec else None


def as_text(address: Address) -> str:
    """Return an address as text; the name of a pair is quoted if it could not be parsed otherwise."""
    if isinstance(address, str):
        return address
    name, spec = address
    return f"{quoted(str(name), _AMBIGUOUS)} <{spec}>" if name else str(spec)


def quoted(name: str, special: re.Pattern[str] = SPECIALS) -> str:
    """Return a display name, quoted if it has ``special`` characters (RFC 5322 3.2.5)."""
    if special.search(name):
        return '"' + re.sub(r'([\\"])', r"\\\1", name) + '"'
    return name


def envelope(addresses: Iterable[Address]) -> list[str]:
    """Return the bare addresses for RCPT TO, in order and without duplicates."""
    unique: dict[tuple[str, str], str] = {}
    for address in addresses:
        spec = mailbox(address).spec
        local, _, domain = spec.rpartition("@")
        unique.setdefault((local, domain.lower()), spec)
    return list(unique.values())
