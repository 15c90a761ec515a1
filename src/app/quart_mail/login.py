"""Logging in: XOAUTH2, PLAIN, LOGIN, CRAM-MD5, and never readable for others."""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Awaitable

from aiosmtplib import SMTPAuthenticationError, SMTPResponse

from .classify import refusal
from .dialogue import Dialogue
from .errors import CleartextLoginError, ConnectionLost, LoginError, MailError
from .reply import Reply
from .settings import TokenSource

_ACCEPTED = 235
_NEXT_MAY_DO = frozenset({504, 534, 535})
"""RFC 4954 4 and 6; 535 too, as smtplib has it: some servers offer mechanisms that they do not support."""


async def log_in(session: Dialogue, timeout: float) -> str | None:
    """Log in when the settings hold a login; return the mechanism used, or None.

    Raises LoginError when the server does not accept it, offers no mechanism we know, or when the
    connection is readable for others (RFC 4954 9) and ``MAIL_ALLOW_CLEARTEXT_AUTH`` is off.
    """
    state = session.state
    if not state.username or not (state.oauth2_token or state.password):
        return None
    if not (state.allow_cleartext_auth or is_private(session)):
        raise CleartextLoginError(
            f"The login was not sent: the connection to {state.server} is not encrypted. Turn on "
            "MAIL_USE_TLS or MAIL_USE_SSL (or, knowing the risk, MAIL_ALLOW_CLEARTEXT_AUTH).",
            stage="auth",
        )
    offered = set(session.client.server_auth_methods)
    if state.oauth2_token:
        return await _with_token(session, state.oauth2_token, offered, timeout)
    return await _with_password(session, offered, timeout)


def is_private(session: Dialogue) -> bool:
    """Say whether nobody else can read the connection: TLS, or it stays on this machine."""
    if session.client.get_transport_info("sslcontext") is not None:
        return True
    peer = session.client.get_transport_info("peername")
    return ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


async def _with_password(session: Dialogue, offered: set[str], timeout: float) -> str:
    client = session.client
    username, password = str(session.state.username), str(session.state.password)
    mechanisms = {
        "plain": client.auth_plain,
        "login": client.auth_login,
        "cram-md5": client.auth_crammd5,
    }
    refused: MailError = _not_offered(offered, "PLAIN, LOGIN or CRAM-MD5")
    for name in [name for name in mechanisms if name in offered]:
        step = mechanisms[name](username, password, timeout=None)
        try:
            reply = await _attempt(session, step, timeout)
        except ConnectionLost as error:
            if refused.code is None:
                raise
            raise refused from error  # it says more than that the server then hung up
        if reply.code == _ACCEPTED:
            return name.upper()
        refused = refusal("auth", reply)
        if reply.code not in _NEXT_MAY_DO:
            break
    raise refused


async def _with_token(
    session: Dialogue, source: TokenSource, offered: set[str], timeout: float
) -> str:
    if "xoauth2" not in offered:
        raise _not_offered(offered, "XOAUTH2 (MAIL_OAUTH2_TOKEN is set)")
    token = await _token(source)
    session.hidden.append(token)
    step = session.client.auth_xoauth2(str(session.state.username), token, timeout=None)
    reply = await _attempt(session, step, timeout)
    if reply.code != _ACCEPTED:
        raise refusal("auth", reply)
    return "XOAUTH2"


async def _token(source: TokenSource) -> str:
    """Return the access token; what its callable raises becomes a LoginError."""
    if isinstance(source, str):
        return source
    try:
        token: object = source()
        if inspect.isawaitable(token):
            token = await token
    except Exception as error:
        raise LoginError(
            f"MAIL_OAUTH2_TOKEN gave no token: {type(error).__name__}.", stage="auth"
        ) from error
    return str(token)


async def _attempt(session: Dialogue, step: Awaitable[SMTPResponse], timeout: float) -> Reply:
    return session.received("auth", await session.ask("auth", _answered(step), timeout))


async def _answered(step: Awaitable[SMTPResponse]) -> tuple[int, str]:
    """Return a refusal as the reply that it is: another mechanism may still do."""
    try:
        return await step
    except SMTPAuthenticationError as error:
        return error.code, error.message


def _not_offered(offered: set[str], known: str) -> LoginError:
    there = ", ".join(sorted(offered)).upper() or "none"
    return LoginError(
        f"The mail server offers no way to log in that could be used: wanted is {known}, offered "
        f"is {there}. It may offer more over TLS (MAIL_USE_TLS).",
        stage="auth",
    )
