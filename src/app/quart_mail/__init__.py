"""Asynchronous mail for Quart: Flask-Mail 0.10 with ``await``.

    mail = Mail(app)                                  # or Mail(); mail.init_app(app)
    result = await mail.send(Message("Hello", recipients=["ann@example.com"], body="Hi!"))

For a queue that delivers by it:

- ``await mail.send(message, envelope_from=None, *, before_data=None, timeout=None, deadline=None)``
  returns a SendResult: ``code`` and ``text`` of the server's reply (None and "" when sending is
  suppressed) and ``refused``: {address: Reply(code, text)} of a partly accepted message. When all
  recipients are refused it raises RecipientsRefused.
- Every MailError has ``retry`` (may the same message succeed later), ``scope`` ("message" or
  "server"), ``code`` (int or None), ``text`` (one printable sentence without secrets), ``stage``
  and ``in_doubt`` (the final dot may have been sent). The tree is drawn in ``errors``.
- ``before_data`` is awaited just before DATA. What it raises comes out unchanged, the message is
  not sent, and the connection is left usable.
- Cancelling ``send`` closes its connection. A Message keeps its ``msgId`` however often it is sent
  and can be given one: ``Message(..., msg_id="<...@...>")``.
- ``mail.pool`` has ``size``, ``idle`` and ``in_use``; it bounds connections and nothing else.
  ``await mail.close()`` closes the idle ones and lets those in use finish their message; the app's
  ``after_serving`` does it as well. A pool begins anew on another event loop.

``await mail.probe(address)`` tries the settings out and returns a Probe: ``ok``, ``error``, and
``sentences`` that say which settings were used and what the server answered.

Nothing here starts a thread, except asyncio's resolver for a server given by a name that is not
this machine's.
"""

from .address import Address
from .attachment import Attachment
from .connection import Connection
from .errors import (
    BadAddressError,
    BadHeaderError,
    BrokenError,
    CertificateError,
    CleartextLoginError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    DataRefused,
    DeadlineExceeded,
    GreetingRefused,
    LoginError,
    MailError,
    MessageError,
    NonsenseReply,
    NoRecipientsError,
    NoSenderError,
    RecipientsRefused,
    RefusedError,
    ReplyTimeout,
    SenderRefused,
    ServerError,
    ServiceUnavailable,
    Smtputf8Error,
    TlsError,
    TlsNotOffered,
    UnknownHost,
)
from .mail import Mail
from .message import Message
from .pool import Pool
from .probe import Probe
from .reply import Reply
from .session import SendResult
from .settings import MailState
from .signals import email_dispatched, signals

__all__ = [
    "Address",
    "Attachment",
    "BadAddressError",
    "BadHeaderError",
    "BrokenError",
    "CertificateError",
    "CleartextLoginError",
    "ConfigurationError",
    "ConnectError",
    "Connection",
    "ConnectionLost",
    "DataRefused",
    "DeadlineExceeded",
    "GreetingRefused",
    "LoginError",
    "Mail",
    "MailError",
    "MailState",
    "Message",
    "MessageError",
    "NoRecipientsError",
    "NoSenderError",
    "NonsenseReply",
    "Pool",
    "Probe",
    "RecipientsRefused",
    "RefusedError",
    "Reply",
    "ReplyTimeout",
    "SendResult",
    "SenderRefused",
    "ServerError",
    "ServiceUnavailable",
    "Smtputf8Error",
    "TlsError",
    "TlsNotOffered",
    "UnknownHost",
    "email_dispatched",
    "signals",
]
