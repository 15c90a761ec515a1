"""Turn a server's reply, or the lack of one, into a MailError.

    stage                    reply 4xx            reply 5xx            no valid reply
    connect                  -                    -                    server, retry
    greeting, ehlo           server, retry        server, retry        server, retry
    starttls, auth           server, retry        server, retry        server, retry
    mail, rcpt, data, dot    message, retry       message, no retry    message, retry
    mail, default sender     message, retry       server, retry        message, retry
    any: 421; 530 534 535 538  server, retry      server, retry        -

Without a reply to the final dot ("dot"), the message is in doubt.
"""

from __future__ import annotations

import socket
import ssl

from aiosmtplib import SMTPResponseException

from .errors import (
    ConnectError,
    ConnectionLost,
    DataRefused,
    GreetingRefused,
    LoginError,
    MailError,
    NonsenseReply,
    RecipientsRefused,
    Reply,
    ReplyTimeout,
    SenderRefused,
    ServiceUnavailable,
    TlsError,
    UnknownHost,
)
from .tls import handshake_error

CLOSING = 421
TOO_LARGE, BAD_PARAMETERS = 552, 555  # to MAIL FROM: RFC 1870 6.1, RFC 5321 4.1.1.11
AUTH_REQUIRED = frozenset({530, 534, 535, 538})  # RFC 4954 6, RFC 3207 4

STAGES = {
    "connect": "the connection",
    "greeting": "the connection",
    "ehlo": "EHLO",
    "starttls": "STARTTLS",
    "auth": "the login",
    "reset": "RSET",
    "mail": "the sender",
    "rcpt": "the recipient",
    "data": "DATA",
    "dot": "the message",
}


def reply_error(stage: str, reply: Reply) -> MailError:
    """Return the error for a reply other than the expected one at ``stage``."""
    code = reply.code
    text = f"The mail server refused {STAGES[stage]}: {code} {reply.text}"
    if code == CLOSING:
        return ServiceUnavailable(text, code=code, stage=stage)
    if not 400 <= code < 600:
        return unexpected_reply(stage, reply)
    if stage in {"greeting", "ehlo"}:
        return GreetingRefused(text, code=code, stage=stage)
    if stage == "starttls":
        return TlsError(text, code=code, stage=stage)
    if stage == "auth" or code in AUTH_REQUIRED:
        return LoginError(text, code=code, stage=stage)
    if stage in {"mail", "reset"}:
        return SenderRefused(text, code=code, stage=stage)
    if stage == "rcpt":
        return RecipientsRefused(text, code=code)
    return DataRefused(text, code=code, stage=stage)


def default_sender_error(reply: Reply, sender: str, *, login: str | None) -> MailError:
    """Return the error for a refusal of the site's own sender in a MAIL FROM without parameters.

    ``login``: the user name that the session has logged in with. A 5xx is no fault of the message: every
    other one would be refused as well, until ``MAIL_DEFAULT_SENDER`` is mended.
    """
    error = reply_error("mail", reply)
    if not isinstance(error, SenderRefused) or error.retry:
        return error
    if reply.code in (TOO_LARGE, BAD_PARAMETERS):
        return error
    whom = f"the login {login} (MAIL_USERNAME)" if login else "this machine"
    text = (
        f"The mail server refused the sender {sender}. Set MAIL_DEFAULT_SENDER to an address that it accepts "
        f"from {whom}. It replied: {reply.code} {reply.text}"
    )
    error = SenderRefused(text, code=reply.code, stage="mail")
    error.scope, error.retry = "server", True
    return error


def unexpected_reply(stage: str, reply: Reply) -> NonsenseReply:
    """Return the error for input that is not an SMTP reply or does not fit the command."""
    text = reply.text if reply.code < 0 else f"{reply.code} {reply.text}"
    return NonsenseReply(
        f"The mail server sent an unexpected reply to {STAGES[stage]}: {text}",
        code=reply.code if reply.code > 0 else None,
        stage=stage,
        in_doubt=stage == "dot",
    )


def connection_error(stage: str, error: Exception, *, server: str, in_doubt: bool) -> MailError:
    """Return the error for an exception of asyncio, ssl or aiosmtplib at ``stage``."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, SMTPResponseException):
        return reply_error(stage, Reply(error.code, error.message))
    if isinstance(cause, ssl.SSLError) and stage in {"connect", "starttls"}:
        return handshake_error(cause, server, stage)
    if isinstance(cause, socket.gaierror):
        return UnknownHost(f"The mail server's host name {server} does not resolve.", stage=stage)
    if isinstance(error, TimeoutError):
        if stage == "connect":
            text = f"Connecting to the mail server {server} timed out."
            return ConnectError(text, stage=stage)
        text = f"The mail server did not reply to {STAGES[stage]} in time."
        return ReplyTimeout(text, stage=stage, in_doubt=in_doubt)
    if stage == "connect":
        return ConnectError(
            f"Cannot connect to the mail server {server}: {_reason(cause)}.", stage=stage
        )
    where = "greeting" if stage == "greeting" else f"reply to {STAGES[stage]}"
    text = f"The mail server closed the connection without a {where}."
    return ConnectionLost(text, stage=stage, in_doubt=in_doubt)


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
