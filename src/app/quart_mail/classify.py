"""Turn a server's reply, or the lack of one, into a MailError.

    stage                      reply 4xx            reply 5xx            no valid reply
    connect                    -                    -                    server, retry
    greeting, ehlo             server, retry        server, retry        server, retry
    starttls, auth             server, retry        server, retry        server, retry
    mail, rcpt, data, dot      message, retry       message, no retry    message, retry
    mail, default sender       message, retry       server, retry        message, retry
    any: 421; 530 534 535 538  server, retry        server, retry        -

Without a reply to the final dot ("dot"), the message is in doubt.
"""

import socket
import ssl

from aiosmtplib import SMTPResponseException

from .errors import (
    CONNECTION_STAGES,
    CertificateError,
    ConnectError,
    ConnectionLost,
    DataRefused,
    GreetingRefused,
    LoginError,
    MailError,
    NonsenseReply,
    RecipientsRefused,
    RefusedError,
    Reply,
    ReplyTimeout,
    SenderRefused,
    ServerError,
    ServiceUnavailable,
    TlsError,
    UnknownHost,
)

CLOSING = 421
TOO_LARGE, BAD_PARAMETERS = 552, 555  # to MAIL FROM: RFC 1870 6.1, RFC 5321 4.1.1.11
AUTH_REQUIRED = frozenset({530, 534, 535, 538})  # RFC 4954 6, RFC 3207 4

STAGES: dict[str, tuple[str, type[RefusedError | ServerError]]] = {
    "connect": ("the connection", ConnectError),
    "greeting": ("the connection", GreetingRefused),
    "ehlo": ("EHLO", GreetingRefused),
    "starttls": ("STARTTLS", TlsError),
    "auth": ("the login", LoginError),
    "reset": ("RSET", SenderRefused),
    "mail": ("the sender", SenderRefused),
    "rcpt": ("the recipient", RecipientsRefused),
    "data": ("DATA", DataRefused),
    "dot": ("the message", DataRefused),
}
"""What the server refuses at each stage, and the error for it."""

# By the code in ssl.SSLCertVerificationError.verify_code: X509_V_ERR_* of OpenSSL
_CERTIFICATE_PROBLEMS = {
    9: "is not valid yet",
    10: "has expired",
    **dict.fromkeys((18, 19), "is self-signed, or signed by an authority that is not in MAIL_CA_FILE"),
    **dict.fromkeys((2, 20, 21), "was issued by an authority that is not trusted (see MAIL_CA_FILE)"),
    **dict.fromkeys((62, 63, 64), "is for a different name: {message}"),
}


def reply_error(stage: str, reply: Reply) -> MailError:
    """Return the error for a reply other than the expected one at ``stage``."""
    code = reply.code
    what, kind = STAGES[stage]
    if not 400 <= code < 600:
        return unexpected_reply(stage, reply)
    if code == CLOSING:
        kind = ServiceUnavailable
    elif code in AUTH_REQUIRED and stage not in CONNECTION_STAGES:
        kind = LoginError
    text = f"The mail server refused {what}: {code} {reply.text}"
    return kind(text, code=code, stage=stage)


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
        f"The mail server sent an unexpected reply to {STAGES[stage][0]}: {text}",
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
        return _handshake_error(cause, server, stage)
    if isinstance(cause, socket.gaierror):
        return UnknownHost(f"The mail server's host name {server} does not resolve.", stage=stage)
    if stage == "connect":
        text = f"Connecting to the mail server {server} timed out."
        if not isinstance(error, TimeoutError):
            refused = isinstance(cause, ConnectionRefusedError)
            reason = "connection refused" if refused else getattr(cause, "strerror", None) or cause
            text = f"Cannot connect to the mail server {server}: {reason}."
        return ConnectError(text, stage=stage)
    if isinstance(error, TimeoutError):
        text = f"The mail server did not reply to {STAGES[stage][0]} in time."
        return ReplyTimeout(text, stage=stage, in_doubt=in_doubt)
    where = "greeting" if stage == "greeting" else f"reply to {STAGES[stage][0]}"
    text = f"The mail server closed the connection without a {where}."
    return ConnectionLost(text, stage=stage, in_doubt=in_doubt)


def _handshake_error(error: ssl.SSLError, server: str, stage: str) -> TlsError:
    if isinstance(error, ssl.SSLCertVerificationError):
        problem = _CERTIFICATE_PROBLEMS.get(error.verify_code, "is not valid: {message}")
        problem = problem.replace("{message}", error.verify_message)
        text = f"The certificate of {server} {problem} (MAIL_VALIDATE_CERTS is on)."
        return CertificateError(text, stage=stage)
    hint = ""
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        hint = " The port may expect STARTTLS (MAIL_USE_TLS instead of MAIL_USE_SSL)."
    reason = error.reason or type(error).__name__
    return TlsError(f"The TLS handshake with {server} failed: {reason}.{hint}", stage=stage)
