"""Everything that can go wrong with a mail, as one tree.

    MailError
    ├── ConfigurationError (ValueError)      a setting is wrong
    ├── MessageError                         the message as it stands cannot be sent, ever
    │   ├── NoRecipientsError (AssertionError)
    │   ├── NoSenderError (AssertionError)
    │   ├── BadHeaderError (ValueError)      CR, LF, NUL or the like where a header stands
    │   ├── BadAddressError (ValueError)
    │   └── Smtputf8Error                    the server cannot take this non-ASCII address
    ├── RefusedError                         the server said no to this message
    │   ├── SenderRefused
    │   ├── RecipientsRefused                every recipient; see ``refused``
    │   └── DataRefused
    ├── BrokenError                          no (sensible) answer came
    │   ├── ConnectionLost (ConnectionError)
    │   ├── ReplyTimeout (TimeoutError)
    │   ├── DeadlineExceeded (TimeoutError)
    │   └── NonsenseReply
    └── ServerError                          no message would get through now
        ├── ConnectError (ConnectionError)
        ├── UnknownHost (ConnectionError)    the server's name does not resolve
        ├── GreetingRefused
        ├── ServiceUnavailable               421 at any point
        ├── TlsError
        │   ├── TlsNotOffered
        │   └── CertificateError
        └── LoginError
            └── CleartextLoginError

Each carries what a queue decides by: see MailError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .reply import Reply, is_transient, printable

Scope = Literal["message", "server"]


class MailError(Exception):
    """A mail was not (or not certainly) sent.

    ``retry``: may the same message succeed later? ``scope``: "message", or "server" as a whole. ``code``:
    the reply code, if there was a reply. ``text``: one printable sentence without secrets. ``stage``: of
    the dialogue ("connect", "dot"...). ``in_doubt``: the final dot may have been sent, and all arrived.
    """

    retry: bool = False
    scope: Scope = "message"

    def __init__(
        self,
        text: str,
        *,
        code: int | None = None,
        stage: str | None = None,
        in_doubt: bool = False,
    ) -> None:
        self.text = printable(text)
        self.code = code
        self.stage = stage
        self.in_doubt = in_doubt
        super().__init__(self.text)


class ConfigurationError(MailError, ValueError):
    """A setting is missing or contradicts another one."""

    scope: Scope = "server"


class MessageError(MailError):
    """The message cannot be sent as it stands."""


class NoRecipientsError(MessageError, AssertionError):
    """Nobody to send to; an AssertionError as in Flask-Mail, and also under ``python -O``."""


class NoSenderError(MessageError, AssertionError):
    """Neither a sender nor ``MAIL_DEFAULT_SENDER``; an AssertionError as in Flask-Mail."""


class BadHeaderError(MessageError, ValueError):
    """A header would hold a line break, a NUL or another control character."""

    def __init__(self, text: str = "A header holds a line break or control character.") -> None:
        super().__init__(text)


class BadAddressError(MessageError, ValueError):
    """Something given as an address is none."""


class Smtputf8Error(MessageError):
    """An address needs SMTPUTF8 (RFC 6531) and the server does not offer it."""


class RefusedError(MailError):
    """The server refused this message: for now (4xx) or for good (5xx)."""

    def __init__(self, text: str, *, code: int, stage: str) -> None:
        super().__init__(text, code=code, stage=stage)
        self.retry = is_transient(code)


class SenderRefused(RefusedError):
    """MAIL FROM was refused."""


class RecipientsRefused(RefusedError):
    """Every recipient was refused; ``refused`` says each one's reply."""

    def __init__(self, text: str, *, code: int, refused: Mapping[str, Reply] | None = None) -> None:
        super().__init__(text, code=code, stage="rcpt")
        self.refused = dict(refused or {})
        if self.refused:
            self.retry = any(is_transient(reply.code) for reply in self.refused.values())


class DataRefused(RefusedError):
    """DATA, or the message after its final dot, was refused."""


class BrokenError(MailError):
    """The dialogue broke off; before a message was begun that is the server's trouble."""

    retry = True

    def __init__(
        self, text: str, *, stage: str | None, code: int | None = None, in_doubt: bool = False
    ) -> None:
        super().__init__(text, code=code, stage=stage, in_doubt=in_doubt)
        self.scope = "server" if stage in OPENING_STAGES else "message"


class ConnectionLost(BrokenError, ConnectionError):
    """The server hung up."""


class ReplyTimeout(BrokenError, TimeoutError):
    """A reply did not come within ``MAIL_TIMEOUT`` (``MAIL_DATA_TIMEOUT`` for the final dot)."""


class DeadlineExceeded(BrokenError, TimeoutError):
    """The whole attempt took longer than ``MAIL_DEADLINE``."""


class NonsenseReply(BrokenError):
    """The answer was no SMTP reply, or none that fits the command."""


class ServerError(MailError):
    """No message would get through: the server, the way to it, or our access to it."""

    retry = True
    scope: Scope = "server"


class ConnectError(ServerError, ConnectionError):
    """No connection: refused, unreachable, or not answered in time."""


class UnknownHost(ServerError, ConnectionError):
    """The server's name does not resolve."""


class GreetingRefused(ServerError):
    """The server refused to talk, by its greeting or by its answer to EHLO."""


class ServiceUnavailable(ServerError):
    """421: the server is closing the connection (RFC 5321 3.8)."""


class TlsError(ServerError):
    """TLS was asked for and did not come about."""


class TlsNotOffered(TlsError):
    """``MAIL_USE_TLS`` is on and the server offers no STARTTLS."""


class CertificateError(TlsError):
    """The server's certificate is not to be trusted."""


class LoginError(ServerError):
    """The server did not accept the login, or wants one."""


class CleartextLoginError(LoginError):
    """The password would cross the network readable for anyone."""


OPENING_STAGES = frozenset({"connect", "greeting", "ehlo", "starttls", "auth"})
