"""Opening a connection: connect, greeting, EHLO, STARTTLS, login."""

from __future__ import annotations

import asyncio
import socket

from aiosmtplib import SMTPHeloError, SMTPResponse

from .dialogue import Client, Progress
from .errors import TlsNotOffered
from .login import log_in
from .session import Session
from .settings import MailState

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def open_session(state: MailState, progress: Progress, timeout: float) -> Session:
    """Open a connection ready for a message; ``timeout``: seconds for each reply.

    Raises MailError. Cancelled, or failing in any way, it leaves nothing open.
    """
    session = Session(state, _client(state), progress)
    try:
        greeting = await session.ask("connect", _connect(session.client, state), timeout)
        session.greeting = session.shown(f"{greeting.code} {greeting.message}")
        await _hello(session, timeout)
        if state.use_tls:
            await _start_tls(session, timeout)
        session.mechanism = await log_in(session, timeout)
    except BaseException:
        session.abort()
        raise
    return session


def is_loopback_name(server: str) -> bool:
    """Say whether a server's name means this machine (RFC 6761 6.3)."""
    name = server.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _client(state: MailState) -> Client:
    # start_tls=False: aiosmtplib's own default is to try STARTTLS. No timeout: Dialogue.ask has it.
    return Client(
        hostname=state.server,
        local_hostname=state.helo_name,
        timeout=None,
        use_tls=state.use_ssl,
        start_tls=False,
        tls_context=state.tls_context,
    )


async def _connect(client: Client, state: MailState) -> SMTPResponse:
    if is_loopback_name(state.server):
        return await client.connect(sock=await _loopback_socket(state.port))
    return await client.connect(port=state.port)


async def _loopback_socket(port: int) -> socket.socket:
    """Connect to this machine by number: a name would start asyncio's resolver thread."""
    trouble: OSError | None = None
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
            trouble = trouble or error
        else:
            return sock
    raise trouble or OSError("no loopback address")


async def _hello(session: Session, timeout: float) -> None:
    """Say EHLO, or HELO to a server that knows no other."""
    await session.ask("ehlo", _ehlo_or_helo(session.client), timeout)


async def _ehlo_or_helo(client: Client) -> SMTPResponse:
    try:
        return await client.ehlo(timeout=None)
    except SMTPHeloError as error:
        if not 500 <= error.code < 600 or not client.is_connected:
            raise
        return await client.helo(timeout=None)


async def _start_tls(session: Session, timeout: float) -> None:
    if not session.client.supports_extension("starttls"):
        raise TlsNotOffered(
            "The mail server does not offer STARTTLS, and MAIL_USE_TLS demands it.",
            stage="starttls",
        )
    await session.ask("starttls", session.client.starttls(timeout=None), timeout)
    await _hello(session, timeout)
