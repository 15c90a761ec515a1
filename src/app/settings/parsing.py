"""Parsers for the values of settings, from the environment, `.env` or `create_app(config=...)`.

Those of the `MAIL_*` keys that quart_mail knows are in `app.quart_mail.settings`.
"""

import ipaddress
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import idna
from email_validator import EmailNotValidError, validate_email
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from werkzeug.security import generate_password_hash

from app.quart_mail.settings import Parser

LOCALES = Path(__file__).parents[1] / "locales"  # the catalogues of translations
SOURCE_LANGUAGE = "en"  # of the texts in the source code; needs no catalogue

DEFAULT_HASH_METHOD = "scrypt:32768:8:3"  # OWASP's minimum for scrypt (Password Storage Cheat Sheet)
LOCALHOST = re.compile(r"@localhost(?=>?$)")

BROKERS = frozenset({"redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp"})

# As in URLs rather than DNS: container names may contain underscores.
LABELS = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
DOTTED_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)+")
NAME_LENGTH = 253
MAX_PORT = 65535
HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(:(?P<port>[0-9]{1,5}))?", re.ASCII)

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
POSTGRESQL_OPTIONS = {
    "ssl": "ssl",
    "sslmode": "ssl",
    "host": "host",
    "passfile": "passfile",
    "target_session_attrs": "target_session_attrs",
    "prepared_statement_cache_size": "prepared_statement_cache_size",
}
"""Options accepted after the `?`, by their libpq or asyncpg names, and their names in asyncpg."""


def _text(raw: Any) -> str | None:
    if not isinstance(raw, str) or any(character in raw for character in "\0\r\n"):
        raise ValueError(raw)
    return raw.strip() or None


def _words(raw: Any) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else list(raw)
    return tuple(part.strip() for part in parts if part.strip())


def known_languages() -> list[str]:
    """Return the codes of the languages into which the site is translated, and its own."""
    return [SOURCE_LANGUAGE, *sorted(path.parent.name for path in LOCALES.glob("*/LC_MESSAGES"))]


def _languages(raw: Any) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(code.lower() for code in _words(raw)))
    if not codes or not set(codes) <= set(known_languages()):
        raise ValueError(raw)
    return codes


def _time_zone(raw: Any) -> str:
    name = str(raw).strip()
    try:
        return ZoneInfo(name).key
    except (KeyError, OSError) as error:  # unknown, or the name of a directory, such as "America"
        raise ValueError(raw) from error


def _address(raw: Any) -> str | None:
    text = _text(raw)
    if text is None:
        return None
    # email_validator refuses root@localhost, but a site may send mail to accounts on its own machine.
    with_domain = LOCALHOST.sub("@localhost.test", text)
    try:
        validate_email(
            with_domain, check_deliverability=False, allow_display_name=True, test_environment=True
        )
    except EmailNotValidError:
        raise ValueError(raw) from None
    return text


def _sender(raw: Any) -> str | tuple[str, str] | None:
    if isinstance(raw, tuple | list):
        name, address = raw
        _address(address)
        return (str(name), str(address))
    return _address(raw)


def _addresses(raw: Any) -> tuple[str, ...]:
    return tuple(address for word in _words(raw) if (address := _address(word)))


def _counters(raw: Any) -> str:
    address = str(raw).strip().removeprefix("async+")
    parts = urlsplit(address)
    is_redis = parts.scheme in {"redis", "rediss", "redis+unix"} and (parts.netloc or parts.path)
    if address not in {"memory", "memory://"} and not is_redis:
        raise ValueError(raw)
    return address.removesuffix("://") if address.startswith("memory") else address


def _broker(raw: Any) -> str | None:
    address = _text(raw)
    if address and any(urlsplit(one).scheme not in BROKERS for one in address.split(";")):
        raise ValueError(raw)
    return address


def _hash_method(raw: Any) -> str:
    method = str(raw).strip()
    if method != DEFAULT_HASH_METHOD:  # testing it takes as long as a login
        generate_password_hash("", method)
    return method


def _host(text: str) -> str:
    """Return a host as browsers send it; raises ValueError."""
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
    match = HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    host = _host(match["host"])
    if match["port"] is None:
        return host
    if not 1 <= int(match["port"]) <= MAX_PORT:
        raise ValueError(text)
    return f"{host}:{int(match['port'])}"


def _hosts(raw: Any) -> tuple[str, ...]:
    return tuple(_host_and_port(word) for word in _words(raw))


def _origin(raw: Any) -> str:
    text = str(raw).strip()
    if any(character.isspace() for character in text):  # urlsplit drops some of them
        raise ValueError(raw)
    parts = urlsplit(text.rstrip("/"))
    if parts.scheme not in {"http", "https"} or parts.path or parts.query or parts.fragment:
        raise ValueError(raw)
    return f"{parts.scheme}://{_host_and_port(parts.netloc)}"


def _database(raw: Any) -> str:
    try:
        url = make_url(str(raw).strip())
        url = url.set(drivername=DRIVERS[url.drivername])
        if url.port is not None and not 1 <= url.port <= MAX_PORT:
            raise ValueError(raw)
        if url.drivername.startswith("postgresql"):
            url = url.set(query={POSTGRESQL_OPTIONS[key]: url.query[key] for key in url.query})
    except (ArgumentError, KeyError, ValueError):
        raise ValueError(raw) from None
    if url.drivername.startswith("sqlite") and url.database in {None, "", ":memory:"}:
        raise ValueError(raw)
    return url.render_as_string(hide_password=False)


def whole(least: int, most: int) -> Parser:
    """Return a parser for whole numbers in ASCII digits from `least` to `most`, inclusive."""

    def parse(raw: Any) -> int:
        text = str(raw).strip()
        if isinstance(raw, bool) or not (text.isascii() and text.lstrip("-").isdigit()):
            raise ValueError(raw)
        if not least <= int(text) <= most:
            raise ValueError(raw)
        return int(text)

    return Parser(parse, f"a whole number from {least} to {most}")


def seconds(least: float = 0, most: float = 10 * 365 * 86400) -> Parser:
    """Return a parser for a number of seconds; fractions are allowed."""

    def parse(raw: Any) -> float:
        value = float(raw)
        if isinstance(raw, bool) or not math.isfinite(value) or not least <= value <= most:
            raise ValueError(raw)
        return int(value) if value == int(value) else value

    return Parser(parse, f"a number of seconds from {least:.12g} to {most:.12g}")


def one_of(*names: str) -> Parser:
    """Return a parser that accepts one of `names`, ignoring case."""

    def parse(raw: Any) -> str:
        name = str(raw).strip().lower()
        if name not in names:
            raise ValueError(raw)
        return name

    return Parser(parse, "one of " + ", ".join(names))


text = Parser(_text, "one line of text")
words = Parser(_words, "a list separated by commas")
languages = Parser(_languages, f"a list of {', '.join(known_languages())}")
time_zone = Parser(_time_zone, "the IANA name of a time zone, such as Europe/Madrid")
counters = Parser(_counters, "memory, or a Redis address such as redis://127.0.0.1:6379/0")
broker = Parser(
    _broker, "the address of Redis or RabbitMQ, such as redis://127.0.0.1:6379/0 or amqp://guest@127.0.0.1//"
)
hash_method = Parser(
    _hash_method,
    "a method in Werkzeug's notation that this machine has enough memory for, "
    "such as scrypt:32768:8:3 or pbkdf2:sha256:600000",
)
address = Parser(_address, "an email address")
addresses = Parser(_addresses, "email addresses separated by commas")
sender = Parser(_sender, "an address such as noreply@example.com or Microblog <noreply@example.com>")
hosts = Parser(_hosts, "hosts separated by commas, with optional ports, such as example.com")
origin = Parser(_origin, "http:// or https://, a host and an optional port, such as https://example.com")
database = Parser(
    _database,
    "sqlite:///path/to/file.db or postgresql://user:password@host/database, "
    f"optionally with ? and {', '.join(POSTGRESQL_OPTIONS)}",
)
