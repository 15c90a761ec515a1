"""An SMTP server on the test's loop that can fail in every way at every stage, and counts what arrived.

    async with FaultySmtp() as server:
        server.fail("rcpt", "451 later", times=1)
        ...
    assert server.arrivals == {"<id@example.com>": 1}

Stages: connect greeting ehlo starttls auth mail rcpt data dot quit. What is said instead of the reply:
`drop` closes, `hang` never answers, `drip` sends one byte and then hangs, `garbage` is no SMTP, and any
other text (beginning with a reply code) is sent as it is. At `dot` a message has arrived unless the reply is
a refusal; `lost` at `dot` drops the connection without keeping the message.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable
from email.parser import BytesHeaderParser
from types import TracebackType

GREETING = "220 faulty.example.com ESMTP"
FaultOf = Callable[["Talk"], str | None]


class Talk:
    """What one connection has said so far."""

    def __init__(self) -> None:
        self.helo = ""
        self.sender = ""
        self.recipients: list[str] = []


class Dropped(Exception):
    pass


class FaultySmtp:
    def __init__(self, *, tls: ssl.SSLContext | None = None, login: str | None = None) -> None:
        self.arrivals: Counter[str] = Counter()
        self.helos: Counter[str] = Counter()
        self.bodies: list[bytes] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.reached: Counter[str] = Counter()
        self.changed = asyncio.Event()
        self.open_now = 0
        self.most_open = 0
        self.port = 0
        self.hung = 0
        self._released = asyncio.Event()
        self._tls = tls
        self._login = login
        self._faults: dict[str, list[FaultOf]] = defaultdict(list)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def fail(self, stage: str, reply: str, *, times: int | None = None, to: str = "") -> None:
        """Answer `stage` with `reply`, `times` times or for ever; only mails for `to`, if given."""
        left = [times if times is not None else 10**9]

        def fault(talk: Talk) -> str | None:
            if left[0] <= 0 or (to and to not in talk.recipients):
                return None
            left[0] -= 1
            return reply

        self._faults[stage].append(fault)

    def heal(self) -> None:
        """Forget all faults; what hangs goes on hanging."""
        self._faults.clear()

    def release(self) -> None:
        """Give every reply that hangs."""
        self._released.set()
        self._released = asyncio.Event()

    async def _hang(self) -> None:
        self.hung += 1
        self._note("hang")
        try:
            await self._released.wait()
        finally:
            self.hung -= 1
            self._note("hang")

    async def close_port(self) -> None:
        assert self._server is not None
        self._server.close()

    async def open_port(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, looking at every step of every connection."""
        async with asyncio.timeout(20):
            while not condition():
                changed = self.changed
                await changed.wait()

    async def __aenter__(self) -> FaultySmtp:
        await self.open_port()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.close_port()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _note(self, stage: str) -> None:
        self.reached[stage] += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await self._talk(reader, writer)
        except (Dropped, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self.open_now -= 1
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(
        self, stage: str, writer: asyncio.StreamWriter, talk: Talk, good: str
    ) -> bool:
        """Send the reply to `stage`; return whether it was the good one."""
        self._note(stage)
        said = next((reply for fault in self._faults[stage] if (reply := fault(talk))), good)
        if said in ("drop", "lost"):
            raise Dropped
        if said == "hang":
            await self._hang()
            said = good
        if said == "drip":
            writer.write(good[:1].encode())
            await asyncio.Event().wait()
        writer.write(
            b"\x16\x03\x00 what?\x00\r\n" if said == "garbage" else said.encode() + b"\r\n"
        )
        await writer.drain()
        if said.startswith("421"):
            raise Dropped
        return said == good

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk, secure = Talk(), False
        if any(fault(talk) for fault in self._faults["connect"]):
            self._note("connect")
            raise Dropped
        if not await self._answer("greeting", writer, talk, GREETING):
            raise Dropped
        while line := await reader.readline():
            verb, _, rest = line.decode("latin-1").strip().partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    talk.helo = rest
                    await self._answer("ehlo", writer, talk, self._extensions(secure))
                case "STARTTLS":
                    assert self._tls is not None
                    if await self._answer("starttls", writer, talk, "220 go ahead"):
                        await writer.start_tls(self._tls)
                        secure = True
                case "AUTH":
                    await self._answer("auth", writer, talk, "235 welcome")
                case "MAIL":
                    talk.recipients = []
                    talk.sender = rest.partition("<")[2].partition(">")[0]
                    await self._answer("mail", writer, talk, "250 OK")
                case "RCPT":
                    talk.recipients.append(rest.partition("<")[2].partition(">")[0])
                    if not await self._answer("rcpt", writer, talk, "250 OK"):
                        talk.recipients.pop()
                case "DATA":
                    if await self._answer("data", writer, talk, "354 go ahead"):
                        await self._body(reader, writer, talk)
                case "QUIT":
                    await self._answer("quit", writer, talk, "221 bye")
                    return
                case _:
                    writer.write(b"250 OK\r\n")

    def _extensions(self, secure: bool) -> str:
        lines = ["250-faulty.example.com"]
        if self._tls is not None and not secure:
            lines.append("250-STARTTLS")
        if self._login is not None:
            lines.append(f"250-AUTH {self._login}")
        return "\r\n".join([*lines, "250 8BITMIME"])

    async def _body(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Talk
    ) -> None:
        body = await reader.readuntil(b"\r\n.\r\n")
        reply = next((reply for fault in self._faults["dot"] if (reply := fault(talk))), None)
        if reply is None or reply in ("drop", "hang", "drip", "garbage"):
            self._keep(body, talk)
        self._faults["_now"] = [lambda _: reply]
        await self._answer("_now", writer, talk, "250 OK: queued")
        self._note("dot")

    def _keep(self, body: bytes, talk: Talk) -> None:
        headers = BytesHeaderParser().parsebytes(body)
        self.arrivals[str(headers["Message-ID"])] += 1
        self.bodies.append(body)
        self.helos[talk.helo] += 1
        self.envelopes.append((talk.sender, list(talk.recipients)))
        self._note("dot-kept")
