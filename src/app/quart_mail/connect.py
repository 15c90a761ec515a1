"""Opening a session: connect, read the greeting, EHLO, STARTTLS, log in."""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import socket
from collections.abc import Awaitable

from aiosmtplib import SMTPAuthenticationError, SMTPHeloError, SMTPResponse

from .classify import reply_error
from .errors import (
    CleartextLoginError,
    ConnectionLost,
    LoginError,
    MailError,
    Reply,
    TlsNotOffered,
)
from .session import Client, Progress, Session
from .settings import MailSettings, TokenSource

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_AUTHENTICATED = 235
_TRY_NEXT_MECHANISM = frozenset({504, 534, 535})
"""RFC 4954 4 and 6; 535 too, as in smtplib: some servers offer mechanisms that they do not support."""


async def open_session(state: MailSettings, progress: Progress, timeout: float) -> Session:
    """Open a session that is ready for a message; ``timeout``: seconds for each reply.

    Raises MailError. After an error or a cancellation nothing is left open.
    """
    session = Session(state, _client(state), progress)
    try:
        greeting = await session.wait_for("connect", _connect(session.client, state), timeout)
        session.greeting = session.redact(f"{greeting.code} {greeting.message}")
        await session.wait_for("ehlo", _hello(session.client), timeout)
        if state.use_tls:
            await _start_tls(session, timeout)
        session.mechanism = await _log_in(session, timeout)
    except BaseException:
        session.abort()
        raise
    return session


def _client(state: MailSettings) -> Client:
    # start_tls=False: aiosmtplib tries STARTTLS by default. No timeout: Session.wait_for has it.
    return Client(
        hostname=state.server,
        local_hostname=state.helo_name,
        timeout=None,
        use_tls=state.use_ssl,
        start_tls=False,
        tls_context=state.tls_context,
    )


async def _connect(client: Client, state: MailSettings) -> SMTPResponse:
    if _is_loopback_name(state.server):
        return await client.connect(sock=await _loopback_socket(state.port))
    return await client.connect(port=state.port)


def _is_loopback_name(server: str) -> bool:
    """Whether a server's name means this machine (RFC 6761 6.3)."""
    name = server.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


async def _loopback_socket(port: int) -> socket.socket:
    """Connect to this machine by address: a name would start asyncio's resolver thread."""
    first_error: OSError | None = None
    for family, host in _LOOPBACK:
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            first_error = first_error or error
        else:
            return sock
    raise first_error or OSError("no loopback address")


async def _hello(client: Client) -> SMTPResponse:
    """Send EHLO, or HELO if the server does not know EHLO."""
    try:
        return await client.ehlo(timeout=None)
    except SMTPHeloError as error:
        if not 500 <= error.code < 600 or not client.is_connected:
            raise
        return await client.helo(timeout=None)


async def _start_tls(session: Session, timeout: float) -> None:
    if not session.client.supports_extension("starttls"):
        raise TlsNotOffered(
            "The mail server does not offer STARTTLS, which MAIL_USE_TLS requires.",
            stage="starttls",
        )
    await session.wait_for("starttls", session.client.starttls(timeout=None), timeout)
    await session.wait_for("ehlo", _hello(session.client), timeout)


async def _log_in(session: Session, timeout: float) -> str | None:
    """Log in if the settings contain a login; return the mechanism used, or None.

    Raises LoginError when the server refuses it or offers no mechanism that is supported here, and
    when others could read it (RFC 4954 9) and ``MAIL_ALLOW_CLEARTEXT_AUTH`` is off.
    """
    state = session.state
    if not state.username or not (state.oauth2_token or state.password):
        return None
    if not (state.allow_cleartext_auth or _is_private(session)):
        raise CleartextLoginError(
            f"The login was not sent, because the connection to {state.server} is not encrypted. "
            "Turn on MAIL_USE_TLS or MAIL_USE_SSL (or MAIL_ALLOW_CLEARTEXT_AUTH, if you accept the "
            "risk).",
            stage="auth",
        )
    offered = set(session.client.server_auth_methods)
    if state.oauth2_token:
        return await _log_in_with_token(session, state.oauth2_token, offered, timeout)
    return await _log_in_with_password(session, offered, timeout)


def _is_private(session: Session) -> bool:
    """Whether nobody else can read the connection: it uses TLS or stays on this machine."""
    if session.client.get_transport_info("sslcontext") is not None:
        return True
    peer = session.client.get_transport_info("peername")
    return ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


async def _log_in_with_password(session: Session, offered: set[str], timeout: float) -> str:
    client = session.client
    username, password = str(session.state.username), str(session.state.password)
    mechanisms = {
        "plain": client.auth_plain,
        "login": client.auth_login,
        "cram-md5": client.auth_crammd5,
    }
    last_error: MailError = _not_offered(offered, "PLAIN, LOGIN or CRAM-MD5")
    for name in [name for name in mechanisms if name in offered]:
        step = mechanisms[name](username, password, timeout=None)
        try:
            reply = await _authenticate(session, step, timeout)
        except ConnectionLost as error:
            if last_error.code is None:
                raise
            raise last_error from error  # the refusal says more than the disconnect after it
        if reply.code == _AUTHENTICATED:
            return name.upper()
        last_error = reply_error("auth", reply)
        if reply.code not in _TRY_NEXT_MECHANISM:
            break
    raise last_error


async def _log_in_with_token(
    session: Session, source: TokenSource, offered: set[str], timeout: float
) -> str:
    if "xoauth2" not in offered:
        raise _not_offered(offered, "XOAUTH2 (because MAIL_OAUTH2_TOKEN is set)")
    token = await _token(source)
    session.secrets.append(token)
    step = session.client.auth_xoauth2(str(session.state.username), token, timeout=None)
    reply = await _authenticate(session, step, timeout)
    if reply.code != _AUTHENTICATED:
        raise reply_error("auth", reply)
    return "XOAUTH2"


async def _token(source: TokenSource) -> str:
    """Return the access token; turn an error of its callable into a LoginError."""
    if isinstance(source, str):
        return source
    try:
        token: object = source()
        if inspect.isawaitable(token):
            token = await token
    except Exception as error:
        raise LoginError(
            f"MAIL_OAUTH2_TOKEN failed to return a token: {type(error).__name__}.", stage="auth"
        ) from error
    return str(token)


async def _authenticate(session: Session, step: Awaitable[SMTPResponse], timeout: float) -> Reply:
    """Run one AUTH exchange; return a refusal as a reply, because another mechanism may work."""

    async def response() -> tuple[int, str]:
        try:
            return await step
        except SMTPAuthenticationError as error:
            return error.code, error.message

    return session.parse_reply("auth", await session.wait_for("auth", response(), timeout))


def _not_offered(offered: set[str], supported: str) -> LoginError:
    names = ", ".join(sorted(offered)).upper() or "none"
    return LoginError(
        f"The mail server offers no usable login mechanism (needed: {supported}; offered: {names}). "
        f"It may offer more over TLS (MAIL_USE_TLS).",
        stage="auth",
    )
