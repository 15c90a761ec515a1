"""The MAIL_* settings: their keys, defaults and parsers."""

import ipaddress
import math
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from .address import Address, ascii_domain, domain_of, mailbox
from .errors import ConfigurationError

TokenSource = str | Callable[[], Awaitable[str]]
"""An OAuth2 access token, or an async callable that returns a fresh one."""


class Parser(NamedTuple):
    """How a value is parsed, and a description of accepted values, which follows "give" in error messages.

    ``parse`` takes text from the environment or a ready value, returns the typed value (None for the
    default) and raises ValueError or TypeError.
    """

    parse: Callable[[Any], Any]
    accepts: str


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its key, parser, default and older names; the value of a secret one is never shown."""

    key: str
    parser: Parser
    default: Any = None
    aliases: tuple[str, ...] = ()
    is_secret: bool = False

    def parse(self, raw: Any, key: str = "") -> Any:
        """Return the typed value, None for the default; raises ConfigurationError, which names ``key``."""
        try:
            return None if raw is None else self.parser.parse(raw)
        except (TypeError, ValueError) as error:
            value = "the value given" if self.is_secret else repr(raw)
            raise ConfigurationError(
                f"{key or self.key}: {value} is not accepted; give {self.parser.accepts}."
            ) from error


def _setting(key: str, default: Any, parser: Parser, **options: Any) -> Any:
    """Return the field of MailSettings that ``key`` sets."""
    setting = Setting(key, parser, default, **options)
    return field(default=default, repr=not setting.is_secret, metadata={"setting": setting})


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


boolean = Parser(_boolean, "1, true, yes or on, or 0, false, no or off")
_SECONDS = Parser(_seconds, "a number of seconds above 0")
_TEXT = Parser(_text, "one line of text")
_ONE_LINE = Parser(_one_line, "one line of text")
_DOMAIN = Parser(_domain, "a domain name")
_TOKEN = Parser(_token, "a token, or an async callable")
_SENDER = Parser(_sender, "an email address")
_HOST = Parser(_host, "a host name or an IP address")
_PORT = Parser(_whole(1, 65535), "a whole number from 1 to 65535")
_POOL_SIZE = Parser(_whole(1), "a whole number from 1")
_MAX_EMAILS = Parser(_limit, "a whole number from 0 (no limit)")


@dataclass
class MailSettings:
    """An app's mail settings, stored at ``app.extensions["mail"]``; times are in seconds."""

    server: str = _setting("MAIL_SERVER", "localhost", _HOST, aliases=("MAIL_HOSTNAME",))
    port: int = _setting("MAIL_PORT", 25, _PORT)
    use_tls: bool = _setting("MAIL_USE_TLS", False, boolean)
    use_ssl: bool = _setting("MAIL_USE_SSL", False, boolean)
    username: str | None = _setting("MAIL_USERNAME", None, _TEXT)
    password: str | None = _setting("MAIL_PASSWORD", None, _ONE_LINE, is_secret=True)
    oauth2_token: TokenSource | None = _setting("MAIL_OAUTH2_TOKEN", None, _TOKEN, is_secret=True)  # noqa: RUF009
    allow_cleartext_auth: bool = _setting("MAIL_ALLOW_CLEARTEXT_AUTH", False, boolean)
    default_sender: Address | None = _setting("MAIL_DEFAULT_SENDER", None, _SENDER)  # noqa: RUF009
    debug: bool = _setting("MAIL_DEBUG", False, boolean)
    max_emails: int | None = _setting("MAIL_MAX_EMAILS", None, _MAX_EMAILS)
    suppress: bool = _setting("MAIL_SUPPRESS_SEND", False, boolean)
    ascii_attachments: bool = _setting("MAIL_ASCII_ATTACHMENTS", False, boolean)
    timeout: float = _setting("MAIL_TIMEOUT", 60.0, _SECONDS)
    data_timeout: float = _setting("MAIL_DATA_TIMEOUT", 600.0, _SECONDS)
    deadline: float | None = _setting("MAIL_DEADLINE", 600.0, _SECONDS)
    validate_certs: bool = _setting("MAIL_VALIDATE_CERTS", True, boolean)
    ca_file: str | None = _setting("MAIL_CA_FILE", None, _TEXT)
    client_cert: str | None = _setting("MAIL_CLIENT_CERT", None, _TEXT)
    client_key: str | None = _setting("MAIL_CLIENT_KEY", None, _TEXT)
    local_hostname: str | None = _setting("MAIL_LOCAL_HOSTNAME", None, _DOMAIN)
    message_id_domain: str | None = _setting("MAIL_MESSAGE_ID_DOMAIN", None, _DOMAIN)
    pool_size: int = _setting("MAIL_POOL_SIZE", 4, _POOL_SIZE)
    pool_idle: float = _setting("MAIL_POOL_IDLE", 10.0, _SECONDS)
    tls_context: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def helo_name(self) -> str:
        """The name sent with EHLO: ``MAIL_LOCAL_HOSTNAME``, else the default sender's domain."""
        return self.local_hostname or domain_of(self.default_sender) or "localhost"

    @property
    def has_login(self) -> bool:
        """Whether to log in: there is a user name and a password or token."""
        return bool(self.username and (self.password or self.oauth2_token))


SETTINGS: dict[str, Setting] = {
    each.name: each.metadata["setting"] for each in fields(MailSettings) if each.metadata
}
"""The settings by the name of their field in MailSettings."""


def read_settings(config: Mapping[str, Any], *, debug: bool = False, testing: bool = False) -> MailSettings:
    """Read the MAIL_* keys of an app's config.

    Raises ConfigurationError with a line that names the key, its value (never a secret) and what is
    accepted; also for settings that contradict each other and files that cannot be read.
    """
    values: dict[str, Any] = {"debug": debug, "suppress": testing}
    for name, setting in SETTINGS.items():
        for key in (setting.key, *setting.aliases):
            value = setting.parse(config.get(key), key)
            if value is not None:
                values[name] = value
                break
    settings = MailSettings(**values)
    _check(settings)
    settings.tls_context = _tls_context(settings)
    return settings


def _check(settings: MailSettings) -> None:
    if settings.use_tls and settings.use_ssl:
        raise ConfigurationError(
            "MAIL_USE_TLS and MAIL_USE_SSL are both on; turn one of them off (MAIL_USE_TLS is "
            "STARTTLS, usually port 587; MAIL_USE_SSL is TLS from the start, usually port 465)."
        )
    if settings.oauth2_token and not settings.username:
        raise ConfigurationError(
            "MAIL_OAUTH2_TOKEN: the value given is not accepted without MAIL_USERNAME; give both."
        )
    if settings.client_key and not settings.client_cert:
        raise ConfigurationError(
            f"MAIL_CLIENT_KEY: {settings.client_key!r} is not accepted without MAIL_CLIENT_CERT; give both."
        )


def _tls_context(settings: MailSettings) -> ssl.SSLContext | None:
    """Return the TLS context, or None without encryption; certificate files are read either way."""
    is_encrypted = settings.use_tls or settings.use_ssl
    cert, key = settings.client_cert, settings.client_key
    if not (is_encrypted or settings.ca_file or cert):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigurationError(
            f"MAIL_CA_FILE: {settings.ca_file!r} is not accepted; give a readable file of "
            f"certificates in PEM ({error.strerror or error})."
        ) from error
    if not settings.validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if cert:
            context.load_cert_chain(cert, key)
    except OSError as error:
        with_key = f" with MAIL_CLIENT_KEY {key!r}" if key else ""
        raise ConfigurationError(
            f"MAIL_CLIENT_CERT: {cert!r} is not accepted{with_key}; give readable files "
            f"in PEM that belong together ({error.strerror or error})."
        ) from error
    return context if is_encrypted else None
