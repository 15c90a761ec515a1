"""From what a server answered, or failed to answer, to an error of our tree.

    stage                    reply 4xx            reply 5xx            no reply, drop, nonsense
    connect                  -                    -                    server, retry
    greeting, ehlo           server, retry        server, retry        server, retry
    starttls, auth           server, retry        server, retry        server, retry
    mail, rcpt, data, dot    message, retry       message, for good    message, retry
    any: 421; 530 534 535    server, retry        server, retry        -

After the final dot went out ("dot"), no reply leaves the message in doubt.
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
    ReplyTimeout,
    SenderRefused,
    ServiceUnavailable,
    TlsError,
    UnknownHost,
)
from .reply import Reply
from .tls import handshake_error

CLOSING = 421
LOGIN_WANTED = frozenset({530, 534, 535, 538})  # RFC 4954 6, RFC 3207 4

STAGES = {
    "connect": "the connection",
    "greeting": "its greeting",
    "ehlo": "EHLO",
    "starttls": "STARTTLS",
    "auth": "the login",
    "reset": "RSET",
    "mail": "the sender",
    "rcpt": "the recipient",
    "data": "DATA",
    "dot": "the message",
}


def refusal(stage: str, reply: Reply) -> MailError:
    """Return the error for a reply that is not the one hoped for at ``stage``."""
    code = reply.code
    said = f"The mail server answered {STAGES[stage]} with: {code} {reply.text}"
    if code == CLOSING:
        return ServiceUnavailable(said, code=code, stage=stage)
    if not 400 <= code < 600:
        return nonsense(stage, reply)
    if stage in {"greeting", "ehlo"}:
        return GreetingRefused(said, code=code, stage=stage)
    if stage == "starttls":
        return TlsError(said, code=code, stage=stage)
    if stage == "auth" or code in LOGIN_WANTED:
        return LoginError(said, code=code, stage=stage)
    if stage in {"mail", "reset"}:
        return SenderRefused(said, code=code, stage=stage)
    if stage == "rcpt":
        return RecipientsRefused(said, code=code)
    return DataRefused(said, code=code, stage=stage)


def nonsense(stage: str, reply: Reply) -> NonsenseReply:
    """Return the error for an answer that is no SMTP reply or does not fit."""
    shown = reply.text if reply.code < 0 else f"{reply.code} {reply.text}"
    return NonsenseReply(
        f"The mail server's answer to {STAGES[stage]} makes no sense, or was not the only one: "
        f"{shown}",
        code=reply.code if reply.code > 0 else None,
        stage=stage,
        in_doubt=stage == "dot",
    )


def breakdown(stage: str, error: Exception, *, server: str, in_doubt: bool) -> MailError:
    """Return the error for an exception of asyncio, ssl or aiosmtplib at ``stage``."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, SMTPResponseException):
        return refusal(stage, Reply(error.code, error.message))
    if isinstance(cause, ssl.SSLError) and stage in {"connect", "starttls"}:
        return handshake_error(cause, server, stage)
    if isinstance(cause, socket.gaierror):
        return UnknownHost(f"The mail server's name {server} does not resolve.", stage=stage)
    if isinstance(error, TimeoutError):
        if stage == "connect":
            text = f"The mail server {server} could not be reached in time."
            return ConnectError(text, stage=stage)
        text = f"The mail server did not answer in time at {STAGES[stage]}."
        return ReplyTimeout(text, stage=stage, in_doubt=in_doubt)
    if stage == "connect":
        return ConnectError(
            f"The mail server {server} cannot be reached: {_reason(cause)}.", stage=stage
        )
    text = f"The mail server hung up at {STAGES[stage]}."
    return ConnectionLost(text, stage=stage, in_doubt=in_doubt)


def _reason(cause: BaseException) -> str:
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
