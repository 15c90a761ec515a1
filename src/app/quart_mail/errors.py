"""The errors of quart_mail: one tree under MailError, which says by which attributes a queue can decide."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Scope = Literal["message", "server"]

CONNECTION_STAGES = frozenset({"connect", "greeting", "ehlo", "starttls", "auth"})
"""The stages before the first message of a connection."""

MAX_TEXT = 500  # characters that are kept of a text


class Reply(NamedTuple):
    """An SMTP reply: a three-digit code and its text."""

    code: int
    text: str


def is_transient(code: int) -> bool:
    """Return whether a reply code means a temporary failure (4yz, RFC 5321 4.2.1)."""
    return 400 <= code < 500


def printable(text: str) -> str:
    """Return ``text`` on one line, shortened, with unprintable characters escaped."""
    line = escaped(text[:MAX_TEXT])
    return line if len(text) <= MAX_TEXT else f"{line}..."


def escaped(text: str) -> str:
    """Return ``text`` on one line, with unprintable characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class MailError(Exception):
    """A message was not sent, or it is uncertain whether it was.

    ``retry``: whether the same message may succeed later. ``scope``: "message", or "server" if it
    concerns every message. ``code``: the reply code, or None. ``text``: one printable sentence without
    secrets. ``stage``: the stage of the dialogue ("connect", "rcpt", "dot"...). ``in_doubt``: the final
    dot may have been sent, so the message may have arrived.
    """

    retry: bool = False
    scope: Scope = "message"

    def __init__(
        self, text: str, *, code: int | None = None, stage: str | None = None, in_doubt: bool = False
    ) -> None:
        self.text = printable(text)
        self.code = code
        self.stage = stage
        self.in_doubt = in_doubt
        super().__init__(self.text)


class ConfigurationError(MailError, ValueError):
    """A setting is wrong, or contradicts another one."""

    scope: Scope = "server"


class MessageError(MailError):
    """The message cannot be sent as it is."""


class NoRecipientsError(MessageError, AssertionError):
    """There are no recipients; an AssertionError as in Flask-Mail, but also under ``python -O``."""


class NoSenderError(MessageError, AssertionError):
    """Neither ``sender`` nor ``MAIL_DEFAULT_SENDER`` is set; an AssertionError as in Flask-Mail."""


class BadHeaderError(MessageError, ValueError):
    """A header contains a line break, a NUL or another control character."""

    def __init__(self, text: str = "A header contains a line break or control character.") -> None:
        super().__init__(text)


class BadAddressError(MessageError, ValueError):
    """An address is not valid."""


class Smtputf8Error(MessageError):
    """An address needs SMTPUTF8 (RFC 6531), which the server does not offer."""


class RefusedError(MailError):
    """The server refused this message, temporarily (4xx) or permanently (5xx)."""

    def __init__(self, text: str, *, code: int, stage: str) -> None:
        super().__init__(text, code=code, stage=stage)
        self.retry = is_transient(code)


class SenderRefused(RefusedError):
    """MAIL FROM was refused; ``scope`` is "server" if ``MAIL_DEFAULT_SENDER`` was refused permanently."""


class RecipientsRefused(RefusedError):
    """Every recipient was refused; ``refused`` maps each address to its reply."""

    def __init__(
        self, text: str, *, code: int, stage: str, refused: Mapping[str, Reply] | None = None
    ) -> None:
        super().__init__(text, code=code, stage=stage)
        self.refused = dict(refused or {})
        if self.refused:
            self.retry = any(is_transient(reply.code) for reply in self.refused.values())


class DataRefused(RefusedError):
    """DATA, or the message after its final dot, was refused."""


class BrokenError(MailError):
    """The dialogue broke off; ``scope`` is "server" if that was before the first message."""

    retry = True

    def __init__(self, text: str, **details: Any) -> None:
        super().__init__(text, **details)
        self.scope = "server" if self.stage in CONNECTION_STAGES else "message"


class ConnectionLost(BrokenError, ConnectionError):
    """The server closed the connection."""


class ReplyTimeout(BrokenError, TimeoutError):
    """A reply took longer than ``MAIL_TIMEOUT`` (``MAIL_DATA_TIMEOUT`` after the final dot)."""


class DeadlineExceeded(BrokenError, TimeoutError):
    """The whole attempt took longer than ``MAIL_DEADLINE``."""


class NonsenseReply(BrokenError):
    """The server sent something that is not an SMTP reply, or does not fit the command."""


class ServerError(MailError):
    """No message can be sent: the server is down, unreachable, or refuses this client."""

    retry = True
    scope: Scope = "server"


class ConnectError(ServerError, ConnectionError):
    """The connection failed: refused, unreachable or timed out."""


class UnknownHost(ServerError, ConnectionError):
    """The server's name does not resolve."""


class GreetingRefused(ServerError):
    """The server refused service in its greeting or its reply to EHLO."""


class ServiceUnavailable(ServerError):
    """421: the server is closing the connection (RFC 5321 3.8)."""


class TlsError(ServerError):
    """TLS is required and could not be set up."""


class TlsNotOffered(TlsError):
    """``MAIL_USE_TLS`` is on, but the server does not offer STARTTLS."""


class CertificateError(TlsError):
    """The server's certificate is not trusted."""


class LoginError(ServerError):
    """The server refused the login, or requires one."""


class CleartextLoginError(LoginError):
    """The password would be sent over an unencrypted connection."""
