"""Connections of Hypercorn: bounded per peer, without HTTP/2 on plain TCP, and ended with their client.

ASGI has no hook for connections, and Hypercorn no setting for any of this. So this module replaces the two
classes of Hypercorn 0.18 that make up a connection, in the modules that use them.
"""

import logging
import math
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from types import CodeType
from typing import Any, ClassVar, cast

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
from hypercorn.asyncio.run import worker_serve
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import AppWrapper, ASGIReceiveCallable, Scope
from quart import Quart

from app.web.bodies import discarding
from app.web.request_log import log_event
from app.web.security import bound_sockets, peer

MAX_CONNECTIONS_PER_PEER = 256  # a process may have 1024 open files, by default on Linux
REFUSED_LOG_INTERVAL = 1000  # the first refused connection is logged, and then one in this many
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

MAX_HEADERS = 100  # each costs the server about 4 microseconds
PIECE_LENGTH = 8192
"""Bytes parsed at once: Hypercorn limits the head of a request only while it is incomplete."""
SOCKET_BUFFER = 65_536
"""Bytes; Linux doubles it. By itself it would grow to 4 MB for a client that reads nothing."""


def init_app(app: Quart) -> None:
    """Limit the system's buffers of each connection, and do not log the errors of lost connections."""
    logging.getLogger("asyncio").addFilter(_is_error)

    @app.before_serving
    async def limit_sockets() -> None:
        for listener in bound_sockets():
            _limit(listener, send_timeout=app.config["SEND_TIMEOUT"])


def _limit(listener: socket.socket, *, send_timeout: float) -> None:
    """Limit the system's buffers of each connection that `listener` accepts.

    On Linux, a connection is lost when its client has read nothing for `send_timeout` seconds.
    """
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        listener.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = math.ceil(send_timeout * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _is_error(record: logging.LogRecord) -> bool:
    """Return False for a lost connection: Hypercorn 0.18 does not catch the OSError if it is a timeout."""
    is_connection = record.getMessage().startswith("Unhandled exception in client_connected_cb")
    return not (is_connection and record.exc_info and isinstance(record.exc_info[1], OSError))


class Connection(TCPServer):
    """A connection. Beyond MAX_CONNECTIONS_PER_PEER, it gets an empty 503 unless it comes from a proxy."""

    opened: ClassVar[set["Connection"]] = set()
    opened_by: ClassVar[Counter[str]] = Counter()
    refused: ClassVar[int] = 0

    async def run(self) -> None:
        """Serve the connection until it ends."""
        address = self._address()
        if Connection.opened_by[address] >= MAX_CONNECTIONS_PER_PEER and not self._is_proxy(address):
            self._refuse(address)
            return
        self.socket: socket.socket = self.writer.get_extra_info("socket")
        Connection.opened.add(self)
        Connection.opened_by[address] += 1
        try:
            await super().run()
        finally:
            Connection.opened.discard(self)
            Connection.opened_by[address] -= 1
            if not Connection.opened_by[address]:
                del Connection.opened_by[address]

    async def _close(self) -> None:
        """Close the connection. A loss of it meanwhile, or more input over TLS, is no error."""
        with suppress(OSError):
            await super()._close()

    def _address(self) -> str:
        """Return the peer, or "" for a Unix socket, which only a proxy on this machine uses."""
        name = self.writer.get_extra_info("peername")
        return peer(name[0]) if isinstance(name, tuple) else ""

    def _is_proxy(self, address: str) -> bool:
        site = getattr(self.app, "app", None)
        return not address or (isinstance(site, Quart) and site.config["TRUSTED_PROXIES"] > 0)

    def _refuse(self, address: str) -> None:
        if Connection.refused % REFUSED_LOG_INTERVAL == 0:
            log_event("connection_refused", peer=address, refused_before=Connection.refused)
        Connection.refused += 1
        self.writer.write(REFUSAL)
        self.writer.close()


def abort_connections() -> None:
    """Abort all connections, as if their clients had disconnected."""
    for connection in Connection.opened:
        connection.writer.transport.abort()
        with suppress(OSError):  # over TLS, Python 3.11 ignores abort() after a second close()
            connection.socket.shutdown(socket.SHUT_RDWR)


class HTTP1(H11Protocol):
    """HTTP/1 on a connection. A request to go on with HTTP/2 or a WebSocket is ignored (RFC 9110 7.8).

    Hypercorn would keep such a connection as long as its client does, idle or not, and a client that opens
    no window for answers to its streams would hold a request in progress with each of them.

    Quart cancels a request whose client has disconnected, and so its response never ends. Hypercorn then
    lets the task that reads from the connection wait forever if the next request has arrived, and it does
    not handle a connection that is lost by a timeout.
    """

    def __init__(self, app: AppWrapper, *args: Any, **kwargs: Any) -> None:
        super().__init__(app, *args, **kwargs)
        self.site = app
        self.app = self._answer

    async def handle(self, event: Event) -> None:
        """Handle what the client has sent; if it has disconnected, the connection is not kept alive."""
        if isinstance(event, RawData):
            for start in range(0, len(event.data) or 1, PIECE_LENGTH):  # nothing: the end
                await super().handle(RawData(event.data[start : start + PIECE_LENGTH]))
            return
        await super().handle(event)
        if isinstance(event, Closed):
            await self.send(Updated(idle=False))

    async def _check_protocol(self, event: h11.Request) -> None:
        """Switch to no other protocol."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Pass a request on as one that asks for no upgrade; refuse other versions and too many headers."""
        is_http_1 = request.http_version.startswith(b"1.")
        if not is_http_1 or len(request.headers) > MAX_HEADERS:
            await self._send_error_response(431 if is_http_1 else 505)
            await self.send(Closed())
            return
        headers = [(name, value) for name, value in request.headers if name != b"upgrade"]
        if len(headers) < len(request.headers):
            request = h11.Request(
                method=request.method,
                target=request.target,
                headers=headers,
                http_version=request.http_version,
            )
        await super()._create_stream(request)

    async def _maybe_recycle(self) -> None:
        """Go on with the next request. When the server stops, drop those that are pipelined.

        Hypercorn would wait forever for permission to read them.
        """
        if self.context.terminated.is_set():
            cast("h11.Connection", self.connection).send_failed()
        await super()._maybe_recycle()

    async def _answer(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: Callable[..., Any],
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        """Pass a request on if its client is still there, and end the connection if it is not."""
        stream: HTTPStream = send.__self__  # type: ignore[attr-defined]
        server: TCPServer = self.send.__self__  # type: ignore[attr-defined]
        transport = server.writer.transport
        try:
            if not transport.is_closing():
                await self.site(scope, receive, send, sync_spawn, call_soon)
        except OSError:
            if not transport.is_closing():
                raise
        finally:
            if stream.state is not ASGIHTTPState.CLOSED and (stream.closed or transport.is_closing()):
                async with discarding(receive):
                    await self.handle(Closed())
                cast("h11.Connection", self.connection).send_failed()
                await self.can_read.set()


def _install() -> None:
    """Replace Hypercorn's classes; raises ImportError if the installed version does not have them."""
    connection_codes = [c for c in worker_serve.__code__.co_consts if isinstance(c, CodeType)]
    names = {name for code in connection_codes for name in code.co_names}
    for used, needed in (
        (names, {"TCPServer"}),
        (_names(ProtocolWrapper.__init__), {"H11Protocol"}),
        (_names(TCPServer.__init__), {"app", "writer"}),
        (_names(TCPServer.run), {"_close"}),
        (_names(H11Protocol.__init__), {"app", "context", "send", "connection", "can_read"}),
        (_names(H11Protocol.stream_send), {"_maybe_recycle"}),
        (_names(H11Protocol._handle_events), {"_check_protocol", "_create_stream", "_send_error_response"}),
        (_names(HTTPStream.__init__), {"app", "closed", "state"}),
    ):
        if not needed <= used:
            raise ImportError(
                f"app.web.connections needs {needed} of Hypercorn; the installed version does not have them. "
                "Install hypercorn 0.18."
            )
    for module, name, replacement in (
        (hypercorn.asyncio.run, "TCPServer", Connection),
        (hypercorn.protocol, "H11Protocol", HTTP1),
    ):
        setattr(module, name, replacement)


def _names(function: Any) -> set[str]:
    return set(function.__code__.co_names)


_install()
