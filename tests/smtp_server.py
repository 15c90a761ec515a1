"""Mail servers for tests and benchmarks: a scripted one that can fail at every stage, and a real one.

    async with SmtpServer() as server:
        server.fail("rcpt", "451 later", times=1)
        ...
    assert server.arrivals == {"<id@example.com>": 1}

The stages are connect, greeting, ehlo, helo, starttls, auth, mail, rcpt, data, dot (the end of a message),
rset, noop, quit, and any other line in lower case. Instead of the good reply, a stage can answer:

    "451 later"   this text, which may have several lines; after a 421 the connection is closed
    "drop"        close the connection; at dot, after keeping the message
    "lost"        close the connection; at dot, without keeping the message
    "hang"        nothing, until `release()`, or until the client disconnects
    "drip"        a byte from time to time, never a whole line
    "garbage"     bytes that are not SMTP

At connect, any answer closes the connection at once. A message has arrived unless dot refuses or loses it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

GOOD_REPLIES = {
    "connect": "",  # no reply: the greeting follows
    "greeting": "220 test ESMTP",
    "helo": "250 test",
    "starttls": "220 go ahead",
    "auth": "235 welcome",
    "mail": "250 sender ok",
    "rcpt": "250 recipient ok",
    "data": "354 go ahead",
    "dot": "250 taken",
    "rset": "250 reset",
    "noop": "250 ok",
    "quit": "221 bye",
}
GARBAGE = b"\x00\xff nonsense\r\n"
DRIP_SECONDS = 0.02
PATIENCE_SECONDS = 60
END_OF_MESSAGE = b"\r\n.\r\n"
MESSAGE_ID = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)

Script = Mapping[str, str | list[str]]
Fault = Callable[["_Connection"], str | None]


def skip(seconds: float) -> None:
    """Set the clock of the running event loop forward: its timeouts and sleeps end that much sooner."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]


class SmtpServer:
    """A scripted SMTP server on this event loop that records what clients do.

    `script`: the reply of a stage, or a list of replies in turn of which the last is repeated.
    `tls`: offer STARTTLS with this context. `auth`: the login mechanisms offered; no password is checked.
    `keep`: record commands and messages; without it only `accepted` counts.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        auth: str = "PLAIN LOGIN XOAUTH2",
        keep: bool = True,
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.auth = auth
        self.keep = keep
        self.script: dict[str, str | list[str]] = dict(script or {})
        self.connections = 0
        self.closed = 0
        self.most_open = 0
        self.accepted = 0
        self.commands: list[str] = []
        self.messages: list[bytes] = []  # as sent, without dot-stuffing and the final dot
        self.envelopes: list[tuple[str, list[str]]] = []
        self.arrivals: Counter[str] = Counter()  # by Message-ID
        self.helos: Counter[str] = Counter()  # messages by the name the client gave
        self.reached: Counter[str] = Counter()  # stages
        self._faults: dict[str, list[Fault]] = defaultdict(list)
        self._open: set[_Connection] = set()
        self._hanging: dict[_Connection, str] = {}
        self._changed: asyncio.Future[None] | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.open_port()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close_port()
        for connection in list(self._open):
            connection.transport.abort()

    async def open_port(self) -> None:
        """Listen, on the same port as before if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close_port(self) -> None:
        """Stop listening; open connections stay open."""
        assert self._server is not None
        self._server.close()

    def fail(self, stage: str, reply: str, *, times: int | None = None, to: str = "") -> None:
        """Answer `stage` with `reply`, always or `times` times; only for mails to `to`, if given."""
        left = times

        def fault(connection: _Connection) -> str | None:
            nonlocal left
            if left == 0 or (to and to not in connection.recipients):
                return None
            if left is not None:
                left -= 1
            return reply

        self._faults[stage].append(fault)

    def heal(self) -> None:
        """Stop failing; connections that hang keep hanging."""
        self._faults.clear()
        self.script.clear()

    def release(self) -> None:
        """Send the good reply on every connection that hangs."""
        for connection, stage in list(self._hanging.items()):
            del self._hanging[connection]
            connection.release(stage)

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._open)

    @property
    def hung(self) -> int:
        """The number of connections waiting for a reply that hangs."""
        return len(self._hanging)

    async def time_out(self, seconds: float) -> None:
        """Wait until a reply hangs or drips, then let `seconds` pass at once for timeouts of this event loop."""
        await self.until(lambda: self.reached["hang"] + self.reached["drip"] > 0)
        await asyncio.sleep(0.05)  # the client begins to wait; if it is slower, the test takes longer
        skip(seconds)

    async def until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait up to `seconds` until `condition` holds; it is checked at every step of every connection."""
        async with asyncio.timeout(seconds):
            while not condition():
                if self._changed is None:
                    self._changed = asyncio.get_running_loop().create_future()
                await asyncio.shield(self._changed)

    def note(self, stage: str) -> None:
        """Record that a connection has reached `stage`."""
        self.reached[stage] += 1
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def reply(self, stage: str, connection: _Connection) -> str:
        """Return the reply to send at `stage`."""
        if stage in self._faults:
            for fault in self._faults[stage]:
                if (reply := fault(connection)) is not None:
                    return reply
        scripted = self.script.get(stage)
        if scripted is None:
            return self.good_reply(stage, connection)
        if isinstance(scripted, str):
            return scripted
        return scripted.pop(0) if len(scripted) > 1 else scripted[0]

    def good_reply(self, stage: str, connection: _Connection) -> str:
        """Return the reply of a working server at `stage`."""
        if stage == "ehlo":
            offers = ["250-test", "250-SIZE 1000000"]
            if self.tls is not None and not connection.is_secure:
                offers.append("250-STARTTLS")
            if self.auth:
                offers.append(f"250-AUTH {self.auth}")
            return "\r\n".join([*offers, "250 8BITMIME"])
        return GOOD_REPLIES.get(stage, "500 what?")

    def opened(self, connection: _Connection) -> None:
        """Count a connection."""
        self.connections += 1
        self._open.add(connection)
        self.most_open = max(self.most_open, len(self._open))

    def ended(self, connection: _Connection) -> None:
        """Forget a connection."""
        self.closed += 1
        self._open.discard(connection)
        self._hanging.pop(connection, None)
        self.note("closed")

    def hang(self, connection: _Connection, stage: str) -> None:
        """Register a connection that `release` will answer."""
        self._hanging[connection] = stage
        self.note("hang")

    def accept(self, content: bytes, connection: _Connection) -> None:
        """Take a message."""
        self.accepted += 1
        if not self.keep:
            return
        self.messages.append(content.replace(b"\r\n..", b"\r\n."))
        found = MESSAGE_ID.search(content)
        self.arrivals[found[1].decode() if found else "None"] += 1
        self.helos[connection.helo] += 1
        self.envelopes.append((connection.sender, list(connection.recipients)))


class _Connection(asyncio.Protocol):
    """One client of an SmtpServer."""

    transport: asyncio.Transport

    def __init__(self, server: SmtpServer) -> None:
        self.server = server
        self.helo = ""
        self.sender = ""
        self.recipients: list[str] = []
        self.is_secure = False
        self._buffer = bytearray()
        self._in_message = False
        self._is_waiting = False  # for a release, or for the end of a TLS handshake
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.opened(self)
        self.server.note("connect")
        if self.server.reply("connect", self):
            self.transport.abort()
        else:
            self._answer("greeting")

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_waiting = True
        self.server.ended(self)

    def data_received(self, data: bytes) -> None:
        searched = len(self._buffer)
        self._buffer += data
        self._read(searched)

    def release(self, stage: str) -> None:
        """Give the good reply of `stage` now, and go on."""
        self._is_waiting = False
        self._say(stage, self.server.good_reply(stage, self))
        self._read()

    def _read(self, searched: int = 0) -> None:
        """Answer every complete line or message; the first `searched` bytes contain no end of one."""
        while not self._is_waiting:
            end = END_OF_MESSAGE if self._in_message else b"\n"
            place = self._buffer.find(end, max(searched - len(end), 0))
            if place < 0:
                return
            content = bytes(self._buffer[: place + 2 if self._in_message else place])
            del self._buffer[: place + len(end)]
            searched = 0
            if self._in_message:
                self._end_message(content)
            else:
                self._obey(content.decode("latin-1").rstrip("\r"))

    def _obey(self, command: str) -> None:
        if self.server.keep:
            self.server.commands.append(command)
        verb, _, rest = command.partition(" ")
        stage = verb.lower()
        if stage in {"ehlo", "helo"}:
            self.helo = rest
        elif stage == "mail":
            self.sender, self.recipients = _path(rest), []
        elif stage == "rcpt":
            self.recipients.append(_path(rest))
        self._answer(stage)

    def _end_message(self, content: bytes) -> None:
        self._in_message = False
        reply = self.server.reply("dot", self)
        if reply[:1] == "2" or reply in {"drop", "hang", "drip", "garbage"}:
            self.server.accept(content, self)
        self.server.note("dot")
        self._say("dot", reply)

    def _answer(self, stage: str) -> None:
        self.server.note(stage)
        self._say(stage, self.server.reply(stage, self))

    def _say(self, stage: str, reply: str) -> None:
        if reply in {"drop", "lost"}:
            self.transport.abort()
        elif reply == "hang":
            self._is_waiting = True
            self.server.hang(self, stage)
        elif reply == "drip":
            self._is_waiting = True
            self.server.note("drip")
            self._drip()
        else:
            self.transport.write(GARBAGE if reply == "garbage" else reply.encode() + b"\r\n")
            self._follow(stage, reply)

    def _follow(self, stage: str, reply: str) -> None:
        """Act on the `reply` that was sent at `stage`."""
        if reply.startswith("421") or stage == "quit":
            self._is_waiting = True
            self.transport.close()
        elif stage == "data":
            self._in_message = reply.startswith("354")
        elif stage == "rcpt" and not reply.startswith("2"):
            self.recipients.pop()
        elif stage == "starttls" and self.server.tls and reply.startswith("220"):
            self._is_waiting = True
            self.transport.pause_reading()
            self._handshake = asyncio.ensure_future(self._start_tls(self.server.tls))

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        plain = self.transport
        try:
            secure = await loop.start_tls(plain, self, context, server_side=True)
        except OSError:
            plain.abort()
            if self in self.server._open:
                self.connection_lost(None)
            return
        assert secure is not None
        self.transport, self.is_secure, self._is_waiting = secure, True, False
        self._read()

    def _drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"2")
            asyncio.get_running_loop().call_later(DRIP_SECONDS, self._drip)


def _path(argument: str) -> str:
    """Return the address in `FROM:<susan@example.com> SIZE=1`."""
    return argument.partition("<")[2].partition(">")[0]


class AiosmtpdServer:
    """aiosmtpd on this event loop, which checks commands as a real server does, and keeps the mails it receives.

    `tls`: for STARTTLS, or from the first byte if `implicit`. `auth`: the password is "right".
    Other arguments are aiosmtpd's.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False, **smtp: Any
    ) -> None:
        self.port = 0
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.logins: list[tuple[str, Any]] = []
        self.refuse: dict[str, str] = {}  # recipients and the reply to each
        self._implicit_tls = tls if implicit else None
        self._smtp: dict[str, Any] = {"hostname": "test", "enable_SMTPUTF8": True} | smtp
        if tls is not None and not implicit:
            self._smtp["tls_context"] = tls
        if auth:
            self._smtp |= {"authenticator": self.authenticate, "auth_require_tls": False}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, loop=loop, **self._smtp), "127.0.0.1", 0, ssl=self._implicit_tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        self.sessions.append(session)
        return f"250 OK number {len(self.envelopes)}"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins.append((mechanism, data))
        return AuthResult(success=data.password == b"right", handled=False)

    @property
    def contents(self) -> list[bytes]:
        contents = []
        for envelope in self.envelopes:
            assert isinstance(envelope.content, bytes)
            contents.append(envelope.content)
        return contents

    def parsed(self, index: int = -1) -> EmailMessage:
        message = BytesParser(policy=default).parsebytes(self.contents[index])
        assert isinstance(message, EmailMessage)
        return message
