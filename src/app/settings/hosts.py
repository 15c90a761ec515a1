"""Parsers of hosts and origins, as they stand in a Host header: A-labels, IPv6 in brackets."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

import idna

from app.settings.parsing import Parser, words

# As in URLs, not only as in DNS: names of containers hold underscores.
LABELS = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
DOTTED_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)+")
NAME_LENGTH = 253
HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(:(?P<port>[0-9]{1,5}))?", re.ASCII)


def _host(text: str) -> str:
    """Return the host `text` as browsers send it; raises ValueError."""
    if text.startswith("["):
        return f"[{ipaddress.IPv6Address(text.strip('[]'))}]"
    name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode("ascii")
    if DOTTED_NUMBERS.fullmatch(name):
        return str(ipaddress.IPv4Address(name))
    if len(name) > NAME_LENGTH or not LABELS.fullmatch(name):
        raise ValueError(text)
    return name


def _host_and_port(text: str) -> str:
    """Return "host" or "host:port"; raises ValueError."""
    found = HOST_AND_PORT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    host = _host(found["host"])
    if found["port"] is None:
        return host
    if not 1 <= int(found["port"]) <= 65535:
        raise ValueError(text)
    return f"{host}:{int(found['port'])}"


def _hosts(raw: Any) -> tuple[str, ...]:
    return tuple(_host_and_port(word) for word in words(raw))


def _origin(raw: Any) -> str:
    text = str(raw).strip()
    if any(character.isspace() for character in text):  # urlsplit takes some of them out
        raise ValueError(raw)
    parts = urlsplit(text.rstrip("/"))
    if parts.scheme not in {"http", "https"} or parts.path or parts.query or parts.fragment:
        raise ValueError(raw)
    return f"{parts.scheme}://{_host_and_port(parts.netloc)}"


hosts = Parser(_hosts, "hosts, each perhaps with a port, separated by commas, such as example.com")
origin = Parser(
    _origin, "http:// or https://, a host and perhaps a port, such as https://example.com"
)
