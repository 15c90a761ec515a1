"""Opening a connection: connect, read the greeting, EHLO, STARTTLS, log in."""

import asyncio
import base64
import inspect
import ipaddress
import socket
from collections.abc import Awaitable
from typing import Any

from aiosmtplib import SMTPAuthenticationError, SMTPHeloError, SMTPResponse

from .classify import reply_error
from .dialogue import Client, Dialogue
from .errors import CleartextLoginError, ConnectionLost, LoginError, MailError, Reply, TlsNotOffered
from .settings import MailSettings

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_AUTHENTICATED = 235
_TRY_NEXT_MECHANISM = frozenset({504, 534, 535})
"""RFC 4954 4 and 6; 535 too, as in smtplib: some servers offer mechanisms that they do not support."""


async def connect(dialogue: Dialogue, timeout: float) -> None:
    """Make a dialogue ready for a message, or raise MailError; ``timeout``: seconds for each reply."""
    settings = dialogue.settings
    dialogue.secrets = []
    for secret in (settings.password, settings.oauth2_token):
        if secret and isinstance(secret, str):
            dialogue.secrets += _as_sent(settings.username, secret)
    # start_tls=False: aiosmtplib tries STARTTLS by default. No timeout: Dialogue.wait_for has it.
    dialogue.client = client = Client(
        hostname=settings.server,
        local_hostname=settings.helo_name,
        timeout=None,
        use_tls=settings.use_ssl,
        start_tls=False,
        tls_context=settings.tls_context,
    )
    try:
        greeting = await dialogue.wait_for("connect", _connect(client, settings), timeout)
        dialogue.greeting = dialogue.redact(f"{greeting.code} {greeting.message}")
        await dialogue.wait_for("ehlo", _hello(client), timeout)
        if settings.use_tls:
            await _start_tls(dialogue, timeout)
        dialogue.mechanism = await _log_in(dialogue, timeout)
    except BaseException:
        dialogue.client.close()
        raise


async def _connect(client: Client, settings: MailSettings) -> SMTPResponse:
    name = settings.server.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 6.3
        return await client.connect(sock=await _loopback_socket(settings.port))
    return await client.connect(port=settings.port)


async def _loopback_socket(port: int) -> socket.socket:
    """Connect to this machine by address: a name would start asyncio's resolver thread."""
    first_error: OSError | None = None
    for family, host in _LOOPBACK:
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            first_error = first_error or error
            continue
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            return sock
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            first_error = first_error or error
    raise first_error or OSError("no loopback address")


async def _hello(client: Client) -> SMTPResponse:
    """Send EHLO, or HELO if the server does not know EHLO."""
    try:
        return await client.ehlo(timeout=None)
    except SMTPHeloError as error:
        if not 500 <= error.code < 600 or not client.is_connected:
            raise
        return await client.helo(timeout=None)


async def _start_tls(dialogue: Dialogue, timeout: float) -> None:
    if not dialogue.client.supports_extension("starttls"):
        raise TlsNotOffered(
            "The mail server does not offer STARTTLS, which MAIL_USE_TLS requires.", stage="starttls"
        )
    await dialogue.wait_for("starttls", dialogue.client.starttls(timeout=None), timeout)
    await dialogue.wait_for("ehlo", _hello(dialogue.client), timeout)


async def _log_in(dialogue: Dialogue, timeout: float) -> str | None:
    """Log in if the settings contain a login; return the mechanism used, or None.

    Raises LoginError when the server refuses it or offers no mechanism that is supported here, and
    when others could read it (RFC 4954 9) and ``MAIL_ALLOW_CLEARTEXT_AUTH`` is off.
    """
    settings = dialogue.settings
    if not settings.has_login:
        return None
    if not (settings.allow_cleartext_auth or _is_private(dialogue)):
        raise CleartextLoginError(
            f"The login was not sent, because the connection to {settings.server} is not encrypted. "
            "Turn on MAIL_USE_TLS or MAIL_USE_SSL (or MAIL_ALLOW_CLEARTEXT_AUTH, if you accept the "
            "risk).",
            stage="auth",
        )
    log_in = _log_in_with_token if settings.oauth2_token else _log_in_with_password
    return await log_in(dialogue, set(dialogue.client.server_auth_methods), timeout)


def _as_sent(username: str | None, secret: str) -> list[str]:
    """Return ``secret`` as it is, and as LOGIN, PLAIN and XOAUTH2 send it: servers quote what they refuse."""
    sent = (secret, f"\0{username}\0{secret}", f"user={username}\x01auth=Bearer {secret}\x01\x01")
    return [secret, *(base64.b64encode(text.encode()).decode() for text in sent)]


def _is_private(dialogue: Dialogue) -> bool:
    """Whether nobody else can read the connection: it uses TLS or stays on this machine."""
    if dialogue.client.get_transport_info("sslcontext") is not None:
        return True
    peer = dialogue.client.get_transport_info("peername")
    return ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


async def _log_in_with_password(dialogue: Dialogue, offered: set[str], timeout: float) -> str:
    client = dialogue.client
    username, password = str(dialogue.settings.username), str(dialogue.settings.password)
    mechanisms = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    last_error: MailError = _not_offered(offered, "PLAIN, LOGIN or CRAM-MD5")
    for name in [name for name in mechanisms if name in offered]:
        step = mechanisms[name](username, password, timeout=None)
        try:
            reply = await _authenticate(dialogue, step, timeout)
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


async def _log_in_with_token(dialogue: Dialogue, offered: set[str], timeout: float) -> str:
    if "xoauth2" not in offered:
        raise _not_offered(offered, "XOAUTH2 (because MAIL_OAUTH2_TOKEN is set)")
    token: Any = dialogue.settings.oauth2_token
    try:
        if callable(token):
            token = token()
        if inspect.isawaitable(token):
            token = await token
    except Exception as error:
        raise LoginError(
            f"MAIL_OAUTH2_TOKEN failed to return a token: {type(error).__name__}.", stage="auth"
        ) from error
    token = str(token)
    dialogue.secrets += _as_sent(dialogue.settings.username, token)
    step = dialogue.client.auth_xoauth2(str(dialogue.settings.username), token, timeout=None)
    reply = await _authenticate(dialogue, step, timeout)
    if reply.code != _AUTHENTICATED:
        raise reply_error("auth", reply)
    return "XOAUTH2"


async def _authenticate(dialogue: Dialogue, step: Awaitable[SMTPResponse], timeout: float) -> Reply:
    """Run one AUTH exchange; return a refusal as a reply, because another mechanism may work."""

    async def response() -> tuple[int, str]:
        try:
            return await step
        except SMTPAuthenticationError as error:
            return error.code, error.message

    return dialogue.parse_reply("auth", await dialogue.wait_for("auth", response(), timeout))


def _not_offered(offered: set[str], supported: str) -> LoginError:
    names = ", ".join(sorted(offered)).upper() or "none"
    return LoginError(
        f"The mail server offers no usable login mechanism (needed: {supported}; offered: {names}). "
        f"It may offer more over TLS (MAIL_USE_TLS).",
        stage="auth",
    )
