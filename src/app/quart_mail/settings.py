"""The MAIL_* settings: one table of keys, and the values that an app runs with."""

from __future__ import annotations

import ipaddress
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .address import Address, ascii_domain, domain_of, mailbox
from .errors import ConfigurationError
from .tls import build_context

TokenSource = str | Callable[[], Awaitable[str]]
"""An OAuth2 access token, or an async callable that returns a fresh one."""


@dataclass
class MailSettings:
    """An app's mail settings, stored at ``app.extensions["mail"]``; times are in seconds."""

    server: str = "localhost"
    port: int = 25
    use_tls: bool = False
    use_ssl: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    oauth2_token: TokenSource | None = field(default=None, repr=False)
    allow_cleartext_auth: bool = False
    default_sender: Address | None = None
    debug: bool = False
    max_emails: int | None = None
    suppress: bool = False
    ascii_attachments: bool = False
    timeout: float = 60.0
    data_timeout: float = 600.0
    deadline: float | None = 600.0
    validate_certs: bool = True
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    local_hostname: str | None = None
    message_id_domain: str | None = None
    pool_size: int = 4
    pool_idle: float = 10.0
    tls_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def helo_name(self) -> str:
        """The name sent with EHLO: ``MAIL_LOCAL_HOSTNAME``, else the default sender's domain."""
        return self.local_hostname or domain_of(self.default_sender) or "localhost"

    def secrets(self) -> list[str]:
        """Return the values that must never be logged or shown."""
        token = self.oauth2_token if isinstance(self.oauth2_token, str) else None
        return [secret for secret in (self.password, token) if secret]


@dataclass(frozen=True, slots=True)
class MailSetting:
    """A key of the config: the MailSettings field it sets and how its value is parsed.

    ``parse`` takes text from the environment or a ready value, returns the typed value (None for the
    default) and raises ValueError; ``accepts`` completes "give ..." in the error message.
    """

    key: str
    field: str
    parse: Callable[[Any], Any]
    accepts: str
    aliases: tuple[str, ...] = ()
    is_secret: bool = False

    def read(self, config: Mapping[str, Any]) -> Any:
        """Return the typed value in ``config``, or None; raises ConfigurationError."""
        for key in (self.key, *self.aliases):
            raw = config.get(key)
            try:
                value = None if raw is None else self.parse(raw)
            except (TypeError, ValueError) as error:
                value = "the value given" if self.is_secret else repr(raw)
                raise ConfigurationError(
                    f"{key}: {value} is not accepted; give {self.accepts}."
                ) from error
            if value is not None:
                return value
        return None


def _one_line(raw: Any) -> str | None:
    text = str(raw)
    if any(character in text for character in "\0\r\n"):
        raise ValueError(text)
    return text or None


def _text(raw: Any) -> str | None:
    return (_one_line(raw) or "").strip() or None


def _boolean(raw: Any) -> bool:
    word = raw.strip().lower() if isinstance(raw, str) else str(bool(raw)).lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError(raw)


def _whole(least: int, most: float = math.inf) -> Callable[[Any], int | None]:
    def parse(raw: Any) -> int | None:
        text = str(raw).strip()
        if not text:
            return None
        if isinstance(raw, bool) or not (text.isascii() and text.isdigit()):
            raise ValueError(raw)
        if not least <= int(text) <= most:
            raise ValueError(raw)
        return int(text)

    return parse


def _limit(raw: Any) -> int | None:
    return _whole(0)(raw) or None


def _seconds(raw: Any) -> float | None:
    if raw == "":
        return None
    number = float(raw)
    if isinstance(raw, bool) or not (math.isfinite(number) and number > 0):
        raise ValueError(raw)
    return number


def _domain(raw: Any) -> str | None:
    text = _text(raw)
    return ascii_domain(text) if text else None


def _host(raw: Any) -> str | None:
    """Return a host to connect to: an IP address as it is, a name as A-labels."""
    text = _text(raw)
    try:
        return text and str(ipaddress.ip_address(text))
    except ValueError:
        return _domain(text)


def _sender(raw: Any) -> Address | None:
    if not raw:
        return None
    sender: Address = (str(raw[0]), str(raw[1])) if isinstance(raw, (tuple, list)) else str(raw)
    mailbox(sender)
    return sender


def _token(raw: Any) -> TokenSource | None:
    return raw if callable(raw) else _one_line(raw)


_BOOLEAN = (_boolean, "1, true, yes or on, or 0, false, no or off")
_SECONDS = (_seconds, "a number of seconds above 0")
_TEXT = (_text, "one line of text")
_DOMAIN = (_domain, "a domain name")

SETTINGS = (
    MailSetting("MAIL_SERVER", "server", _host, "a host name or an IP address", ("MAIL_HOSTNAME",)),
    MailSetting("MAIL_PORT", "port", _whole(1, 65535), "a whole number from 1 to 65535"),
    MailSetting("MAIL_USE_TLS", "use_tls", *_BOOLEAN),
    MailSetting("MAIL_USE_SSL", "use_ssl", *_BOOLEAN),
    MailSetting("MAIL_USERNAME", "username", *_TEXT),
    MailSetting("MAIL_PASSWORD", "password", _one_line, "one line of text", is_secret=True),
    MailSetting(
        "MAIL_OAUTH2_TOKEN", "oauth2_token", _token, "a token, or an async callable", is_secret=True
    ),
    MailSetting("MAIL_ALLOW_CLEARTEXT_AUTH", "allow_cleartext_auth", *_BOOLEAN),
    MailSetting("MAIL_DEFAULT_SENDER", "default_sender", _sender, "an email address"),
    MailSetting("MAIL_DEBUG", "debug", *_BOOLEAN),
    MailSetting("MAIL_MAX_EMAILS", "max_emails", _limit, "a whole number from 0 (no limit)"),
    MailSetting("MAIL_SUPPRESS_SEND", "suppress", *_BOOLEAN),
    MailSetting("MAIL_ASCII_ATTACHMENTS", "ascii_attachments", *_BOOLEAN),
    MailSetting("MAIL_TIMEOUT", "timeout", *_SECONDS),
    MailSetting("MAIL_DATA_TIMEOUT", "data_timeout", *_SECONDS),
    MailSetting("MAIL_DEADLINE", "deadline", *_SECONDS),
    MailSetting("MAIL_VALIDATE_CERTS", "validate_certs", *_BOOLEAN),
    MailSetting("MAIL_CA_FILE", "ca_file", *_TEXT),
    MailSetting("MAIL_CLIENT_CERT", "client_cert", *_TEXT),
    MailSetting("MAIL_CLIENT_KEY", "client_key", *_TEXT),
    MailSetting("MAIL_LOCAL_HOSTNAME", "local_hostname", *_DOMAIN),
    MailSetting("MAIL_MESSAGE_ID_DOMAIN", "message_id_domain", *_DOMAIN),
    MailSetting("MAIL_POOL_SIZE", "pool_size", _whole(1), "a whole number from 1"),
    MailSetting("MAIL_POOL_IDLE", "pool_idle", *_SECONDS),
)


def read_settings(
    config: Mapping[str, Any], *, debug: bool = False, testing: bool = False
) -> MailSettings:
    """Read the MAIL_* keys of an app's config.

    Raises ConfigurationError with a line that names the key, its value (never a secret) and what is
    accepted; also for settings that contradict each other and files that cannot be read.
    """
    values = {setting.field: setting.read(config) for setting in SETTINGS}
    given = {name: value for name, value in values.items() if value is not None}
    state = MailSettings(**{"debug": debug, "suppress": testing, **given})
    _check(state)
    state.tls_context = _tls_context(state)
    return state


def _check(state: MailSettings) -> None:
    if state.use_tls and state.use_ssl:
        raise ConfigurationError(
            "MAIL_USE_TLS and MAIL_USE_SSL are both on; turn one of them off (MAIL_USE_TLS is "
            "STARTTLS, usually port 587; MAIL_USE_SSL is TLS from the start, usually port 465)."
        )
    if state.oauth2_token and not state.username:
        raise ConfigurationError(
            "MAIL_OAUTH2_TOKEN: the value given is not accepted without MAIL_USERNAME; give both."
        )
    if state.client_key and not state.client_cert:
        raise ConfigurationError(
            f"MAIL_CLIENT_KEY: {state.client_key!r} is not accepted without MAIL_CLIENT_CERT; "
            "give both."
        )


def _tls_context(state: MailSettings) -> ssl.SSLContext | None:
    """Return the TLS context, or None without encryption; certificate files are read either way."""
    is_encrypted = state.use_tls or state.use_ssl
    if not (is_encrypted or state.ca_file or state.client_cert):
        return None
    context = build_context(
        validate=state.validate_certs,
        ca_file=state.ca_file,
        client_cert=state.client_cert,
        client_key=state.client_key,
    )
    return context if is_encrypted else None
