"""The MAIL_* settings of an app, read once at ``init_app``."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from typing import Any

from .address import Address, ascii_domain, mailbox
from .errors import BadAddressError, ConfigurationError
from .state import MailState
from .tls import build_context

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def read_settings(
    config: Mapping[str, Any], *, debug: bool = False, testing: bool = False
) -> MailState:
    """Read the MAIL_* keys of an app's config; times are in seconds.

    Raises ConfigurationError naming the key, its value (never a secret's) and what is accepted.
    """
    read = _Reader(config)
    state = MailState(
        server=read.host("MAIL_SERVER") or read.host("MAIL_HOSTNAME") or "localhost",
        port=read.whole("MAIL_PORT", 25, most=65535),
        use_tls=read.flag("MAIL_USE_TLS", False),
        use_ssl=read.flag("MAIL_USE_SSL", False),
        username=read.text("MAIL_USERNAME"),
        password=read.text("MAIL_PASSWORD"),
        oauth2_token=config.get("MAIL_OAUTH2_TOKEN") or None,
        allow_cleartext_auth=read.flag("MAIL_ALLOW_CLEARTEXT_AUTH", False),
        default_sender=read.sender("MAIL_DEFAULT_SENDER"),
        debug=read.flag("MAIL_DEBUG", debug),
        max_emails=read.whole("MAIL_MAX_EMAILS", 0, least=0) or None,
        suppress=read.flag("MAIL_SUPPRESS_SEND", testing),
        ascii_attachments=read.flag("MAIL_ASCII_ATTACHMENTS", False),
        timeout=read.seconds("MAIL_TIMEOUT", 60),
        data_timeout=read.seconds("MAIL_DATA_TIMEOUT", 600),
        deadline=read.seconds("MAIL_DEADLINE", 600),
        validate_certs=read.flag("MAIL_VALIDATE_CERTS", True),
        ca_file=read.text("MAIL_CA_FILE"),
        client_cert=read.text("MAIL_CLIENT_CERT"),
        client_key=read.text("MAIL_CLIENT_KEY"),
        local_hostname=read.domain("MAIL_LOCAL_HOSTNAME"),
        message_id_domain=read.domain("MAIL_MESSAGE_ID_DOMAIN"),
        pool_size=read.whole("MAIL_POOL_SIZE", 4),
        pool_idle=read.seconds("MAIL_POOL_IDLE", 10),
    )
    _check(state)
    state.tls_context = _tls_context(state)
    return state


def _check(state: MailState) -> None:
    if state.use_tls and state.use_ssl:
        raise ConfigurationError(
            "MAIL_USE_TLS and MAIL_USE_SSL are both on; STARTTLS (usually port 587) and TLS from "
            "the first byte (usually port 465) exclude each other."
        )
    if state.oauth2_token and not state.username:
        raise ConfigurationError(
            "MAIL_OAUTH2_TOKEN: the value given is not accepted without MAIL_USERNAME; give both."
        )
    if state.client_key and not state.client_cert:
        raise ConfigurationError(
            f"MAIL_CLIENT_KEY: {state.client_key!r} is not accepted without MAIL_CLIENT_CERT; give both."
        )


def _tls_context(state: MailState) -> ssl.SSLContext | None:
    """Return the context in use; files that nothing uses yet are tried all the same."""
    encrypted = state.use_tls or state.use_ssl
    if not (encrypted or state.ca_file or state.client_cert):
        return None
    context = build_context(
        validate=state.validate_certs,
        ca_file=state.ca_file,
        client_cert=state.client_cert,
        client_key=state.client_key,
    )
    return context if encrypted else None


def _refused(key: str, value: object, accepts: str) -> ConfigurationError:
    return ConfigurationError(f"{key}: {value!r} is not accepted; give {accepts}.")


class _Reader:
    """Typed access to a config whose values may be text from the environment."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def text(self, key: str) -> str | None:
        value = self.config.get(key)
        return None if value is None or value == "" else str(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key)
        if value is None:
            return bool(default)
        word = str(value).strip().lower() if isinstance(value, str) else str(bool(value)).lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise _refused(key, value, "1, true, yes or on, or 0, false, no or off")

    def whole(self, key: str, default: int, *, least: int = 1, most: int | None = None) -> int:
        value = self.config.get(key)
        accepts = f"a whole number from {least}" + (f" to {most}" if most else "")
        try:
            number = int(default if value is None or value == "" else value)
        except (TypeError, ValueError) as error:
            raise _refused(key, value, accepts) from error
        if number < least or (most is not None and number > most):
            raise _refused(key, value, accepts)
        return number

    def seconds(self, key: str, default: float) -> float:
        value = self.config.get(key)
        accepts = "a number of seconds above 0"
        try:
            number = float(default if value is None or value == "" else value)
        except (TypeError, ValueError) as error:
            raise _refused(key, value, accepts) from error
        if not 0 < number < float("inf"):
            raise _refused(key, value, accepts)
        return number

    def domain(self, key: str, accepts: str = "a domain name") -> str | None:
        value = self.text(key)
        try:
            return ascii_domain(value) if value else None
        except BadAddressError as error:
            raise _refused(key, value, accepts) from error

    def host(self, key: str) -> str | None:
        """Return a host to connect to: an IP address as it is, else a name as A-labels."""
        value = self.text(key)
        try:
            return value and str(ipaddress.ip_address(value))
        except ValueError:
            return self.domain(key, "a host name or an IP address")

    def sender(self, key: str) -> Address | None:
        value = self.config.get(key)
        if not value:
            return None
        sender: Address = (
            (str(value[0]), str(value[1])) if isinstance(value, (tuple, list)) else str(value)
        )
        try:
            mailbox(sender)
        except BadAddressError as error:
            raise _refused(key, value, "a mail address") from error
        return sender
