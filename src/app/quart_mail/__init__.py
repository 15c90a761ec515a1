"""Asynchronous mail for Quart: Flask-Mail 0.10 with ``await``.

    mail = Mail(app)                                  # or Mail(); mail.init_app(app)
    result = await mail.send(Message("Hello", recipients=["ann@example.com"], body="Hi!"))

What a queue needs to know:

- ``await mail.send(message, envelope_from=None, *, before_data=None, timeout=None, deadline=None,
  reply_timeout=None)`` returns a SendResult: ``code`` and ``text`` of the server's reply (None and ""
  if sending is suppressed), and ``refused``: {address: Reply(code, text)} if only some recipients
  were accepted.
  If all were refused, it raises RecipientsRefused.
- Every MailError has ``retry`` (the same message may succeed later), ``scope`` ("message" or
  "server"), ``code`` (int or None), ``text`` (one printable sentence without secrets), ``stage``
  and ``in_doubt`` (the final dot may have been sent). ``errors`` shows the tree.
- ``before_data`` is awaited just before DATA. If it raises, the message is not sent, the connection
  stays usable, and the exception is raised unchanged.
- Cancelling ``send`` closes its connection. A Message keeps its ``msgId`` when it is sent again; it
  can be set by ``Message(..., msg_id="<...@...>")``.
- ``mail.pool`` has ``size``, ``idle`` and ``in_use``. ``await mail.close()`` closes idle connections
  now and those in use after their message; so does the app's ``after_serving``. On another event
  loop the pool starts empty.

``await mail.probe(address)`` tests the settings and returns a Probe: ``ok``, ``error``, and
``sentences`` that report the settings used and the server's replies.

No threads are started, except asyncio's resolver if the server is a host name other than localhost.
"""

from .address import Address
from .dispatch import email_dispatched, signals
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
    Reply,
    ReplyTimeout,
    SenderRefused,
    ServerError,
    ServiceUnavailable,
    Smtputf8Error,
    TlsError,
    TlsNotOffered,
    UnknownHost,
)
from .headers import force_text, sanitize_address, sanitize_addresses, sanitize_subject
from .mail import Connection, Mail
from .message import Message
from .mime import Attachment
from .pool import Pool
from .probe import Probe
from .session import SendResult
from .settings import MailSettings

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
    "MailSettings",
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
    "force_text",
    "sanitize_address",
    "sanitize_addresses",
    "sanitize_subject",
    "signals",
]
