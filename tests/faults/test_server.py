"""A real server under hostile clients: memory, timeouts, load shedding and logs."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from app.web.connections import MAX_CONNECTIONS_PER_PEER, abort_connections
from app.web.middleware import MAX_LINGERING
from tests.clients import talk
from tests.processes import (
    KEEP_ALIVE_SECONDS,
    PATIENCE_SECONDS,
    TOML,
    Process,
    Site,
    forked_program,
    served_site,
)

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_kind", ["sqlite"])]

HEAD = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
CHUNK = b"10000\r\n" + b"a" * 65536 + b"\r\n"
MEGABYTE = 2**20


def post(path: bytes, *lines: bytes) -> bytes:
    return b"POST " + path + HEAD + FORM + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def get(path: bytes) -> bytes:
    return b"GET " + path + HEAD + b"\r\n"


async def grown(served: Site, *pieces: bytes, times: int) -> tuple[set[int], int]:
    """Send the same `times` at once; return the statuses, and by how many bytes the server grew."""
    before = served.memory()
    replies = await asyncio.gather(*(talk(served.port, *pieces) for _ in range(times)))
    return {reply.status for reply in replies}, served.memory() - before


async def test_bodies_of_17_mb_are_refused_without_being_held(database_url: str, tmp_path: Path) -> None:
    body = [b"a" * MEGABYTE] * 17
    async with served_site(tmp_path, database_url) as served:
        assert (await talk(served.port, get(b"/login"))).status == 200
        for path in (b"/login", b"/nothing"):
            declared = post(path, b"Content-Length: 17825792")
            statuses, growth = await grown(served, declared, *body, times=2)
            assert statuses == {413}
            assert growth < 20 * MEGABYTE
            chunked = post(path, b"Transfer-Encoding: chunked")
            statuses, growth = await grown(served, chunked, *[CHUNK] * 272, b"0\r\n\r\n", times=2)
            assert statuses == {413}
            assert growth < 30 * MEGABYTE
        multipart = post(b"/login", b"Transfer-Encoding: chunked").replace(
            b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x"
        )
        head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        start = f"{len(head):x}\r\n".encode() + head + b"\r\n"
        statuses, _ = await grown(served, multipart, start, *[CHUNK] * 272, times=2)
        assert statuses == {413}
        assert (await talk(served.port, get(b"/login"))).status == 200


async def test_a_slow_body_times_out_and_does_not_delay_other_requests(
    database_url: str, tmp_path: Path
) -> None:
    settings = {"BODY_TIMEOUT": "1", "MAX_REQUESTS": "4"}
    async with served_site(tmp_path, database_url, **settings) as served:
        slow = [
            asyncio.create_task(talk(served.port, post(b"/login", b"Content-Length: 100"), b"a=b"))
            for _ in range(30)
        ]  # if they took up requests in progress, most would get 503
        await asyncio.sleep(0.3)
        assert (await talk(served.port, get(b"/login"))).status == 200
        replies = await asyncio.gather(*slow)
        assert {reply.status for reply in replies} == {408}


async def test_a_slow_request_head_times_out(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url) as served:
        begun = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        dripping = asyncio.create_task(drip(writer))
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reader.read() == b""
        assert time.monotonic() - begun > KEEP_ALIVE_SECONDS / 2
        dripping.cancel()
        await asyncio.wait([dripping])
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send the head of a request, a letter at a time and for ever."""
    writer.write(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
    while not writer.is_closing():
        writer.write(b"a")
        await asyncio.sleep(0.1)


async def test_overload_is_shed_early(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url, MAX_REQUESTS="5") as served:
        await talk(served.port, get(b"/login"))
        before = served.memory()
        replies = await asyncio.gather(
            *(talk(served.port, get(b"/readyz" if n == 0 else b"/login")) for n in range(200))
        )
        statuses = [reply.status for reply in replies]
        assert statuses[0] == 200
        assert set(statuses) == {200, 503}
        shed = next(reply for reply in replies if reply.status == 503)
        assert "retry-after: 5" in shed.head
        assert "Temporarily Unavailable" in shed.body
        assert served.memory() - before < 30 * MEGABYTE
        assert (await talk(served.port, get(b"/login"))).status == 200
    assert 1 <= sum("event=shed" in line for line in served.lines) < 10


async def test_a_smuggled_request_is_not_answered(database_url: str, tmp_path: Path) -> None:
    """A proxy that goes by the length takes all of it for one request."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    body = b"0\r\n\r\n" + smuggled
    lengths = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
    async with served_site(tmp_path, database_url) as served:
        head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\n" + FORM + lengths
        for pieces in ((head + body,), (head, body)):
            reply = await talk(served.port, *pieces)
            assert reply.status == 400
            assert "connection: close" in reply.head
            assert "HTTP/1.1" not in reply.body
            assert '"ok"' not in reply.body


BARE = {
    "no HTTP": (400, [b"hello\r\n\r\n"]),
    "no Host": (400, [b"GET / HTTP/1.1\r\n\r\n"]),
    "a wrong length": (400, [post(b"/login", b"Content-Length: x")]),
    "a wrong chunk": (400, [post(b"/login", b"Transfer-Encoding: chunked"), b"zz\r\n"]),
    "an unknown coding": (501, [post(b"/login", b"Transfer-Encoding: gzip")]),
    "a head beyond 24 KiB": (431, [b"GET /login" + HEAD + b"X: " + b"a" * 25_000 + b"\r\n\r\n"]),
    "thousands of headers": (431, [b"GET /login" + HEAD + b"X:\r\n" * 3000 + b"\r\n"]),
    "HTTP/2 without TLS": (505, [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))]),
}
"""What the server itself answers, and its status."""


async def test_responses_of_the_server_itself_are_bare(database_url: str, tmp_path: Path) -> None:
    """docs/security.md says so: no body, no header of the site."""
    async with served_site(tmp_path, database_url) as served:
        replies = {name: await talk(served.port, *pieces) for name, (_, pieces) in BARE.items()}
    for name, (status, _) in BARE.items():
        names = {line.partition(":")[0].lower() for line in replies[name].head.splitlines()[1:]}
        assert (replies[name].status, replies[name].body) == (status, ""), name
        assert names <= {"content-length", "connection", "date"}, name


UPGRADE = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
SILENT = {
    "nothing": b"",
    "a WebSocket": UPGRADE
    + b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: QQ==\r\n\r\n",
    "a WebSocket without a key": UPGRADE + b"Upgrade: websocket\r\n\r\n",
    "an upgrade to HTTP/2": UPGRADE + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
}
"""What a client may send before it is silent."""


async def test_connections_of_silent_clients_are_closed(database_url: str, tmp_path: Path) -> None:
    """Whichever protocol they ask for, they get HTTP/1, and are closed when they have been idle."""

    async def silent(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(data)
        async with asyncio.timeout(PATIENCE_SECONDS):
            response = await reader.read()
        writer.close()
        return response.partition(b"\r\n")[0]

    async with served_site(tmp_path, database_url) as served:
        responses = await asyncio.gather(*map(silent, SILENT.values()))
        assert responses == [b"", *[b"HTTP/1.1 200 "] * 3, b"HTTP/1.1 505 "]
    assert not complaints(served)


@pytest.mark.parametrize("proxies", ["0", "1"])
async def test_a_peer_has_a_limited_number_of_connections(
    proxies: str, database_url: str, tmp_path: Path
) -> None:
    async with served_site(
        tmp_path, database_url, LONG_SECONDS, LONG_SECONDS, TRUSTED_PROXIES=proxies
    ) as served:
        await talk(served.port, get(b"/login"))
        before = served.connections()
        with ExitStack() as stack:
            for _ in range(MAX_CONNECTIONS_PER_PEER):
                unread(stack, served.port, b"")
            if proxies == "1":
                assert (await talk(served.port, get(b"/login"))).status == 200
            else:
                reply = await talk(served.port)
                assert (reply.status, reply.body) == (503, "")
                assert "Retry-After: 5" in reply.head
        await until_closed(served, before)
        assert (await talk(served.port, get(b"/login"))).status == 200
    assert sum("event=connection_refused" in line for line in served.lines) == (proxies == "0")


PIPELINED = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
LONG_SECONDS = 600
"""For what must not happen: a test that waits for it fails."""


def unread(stack: ExitStack, port: int, data: bytes = PIPELINED) -> socket.socket:
    """Return a client that has sent `data` and reads nothing."""
    client = stack.enter_context(socket.socket())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    with suppress(BlockingIOError):
        client.send(data)
    return client


def unsent(port: int) -> int:
    """Return how many bytes the system holds for clients of the server at `port`."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(f":{port:04X}"))


def complaints(served: Site) -> list[str]:
    return [line for line in served.lines if " WARNING " in line or " ERROR " in line]


async def until_closed(served: Site, count: int) -> None:
    """Wait until the server has at most `count` open sockets."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while served.connections() > count:
            await asyncio.sleep(0.05)


async def test_clients_that_never_read_hold_nobody_up(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url, MAX_REQUESTS="3") as served:
        before = served.connections()
        with ExitStack() as stack:
            for _ in range(10):
                unread(stack, served.port)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while served.connections() < before + 10:
                    await asyncio.sleep(0.05)
                while (await talk(served.port, get(b"/login"))).status != 200:
                    await asyncio.sleep(0.05)


async def test_a_client_that_never_reads_holds_little_memory(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url, LONG_SECONDS, SEND_TIMEOUT="600") as served:
        with ExitStack() as stack:
            unread(stack, served.port)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while unsent(served.port) < 2**16:
                    await asyncio.sleep(0.05)
            for _ in range(300):  # unless it is held up, the other client gets as many responses meanwhile
                await talk(served.port, get(b"/login"))
            assert unsent(served.port) < 2**18


async def test_a_client_that_never_reads_is_disconnected(database_url: str, tmp_path: Path) -> None:
    """And nothing is left of it that would hold up the end."""
    seconds = (LONG_SECONDS, LONG_SECONDS)
    async with served_site(tmp_path, database_url, *seconds, SEND_TIMEOUT="0.5") as served:
        await talk(served.port, get(b"/login"))
        before = served.connections()
        with ExitStack() as stack:
            clients = [unread(stack, served.port) for _ in range(5)]
            refused = post(b"/login", b"Content-Length: 0").replace(b"Connection: close\r\n", b"")
            clients.append(unread(stack, served.port, refused + PIPELINED))
            for client in clients:
                await asyncio.get_running_loop().sock_recv(client, 1)
            await until_closed(served, before)
        assert await served.terminate() == 0
    assert not complaints(served)


@pytest.mark.parametrize("reset", [False, True])
async def test_pipelined_requests_of_a_client_that_left_are_dropped(
    reset: bool, database_url: str, tmp_path: Path
) -> None:
    """They are not answered, and no task is left waiting for them, which would hold up the end."""
    async with served_site(tmp_path, database_url, LONG_SECONDS, LONG_SECONDS) as served:
        await talk(served.port, get(b"/login"))
        before = served.connections()
        with ExitStack() as stack:
            clients = [unread(stack, served.port) for _ in range(5)]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while unsent(served.port) < 2**18:
                    await asyncio.sleep(0.05)
            for client in clients:
                if reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await until_closed(served, before)
        assert await served.terminate() == 0
    assert not complaints(served)
    assert sum("event=access" in line for line in served.lines) < 1000


async def test_bodies_in_thousands_of_chunks_leave_nothing_waiting(database_url: str, tmp_path: Path) -> None:
    """Nobody reads them: they are refused by their Host, when the server lingers for no further client."""
    wrong = b"POST /login HTTP/1.1\r\nHost: b@d\r\n"
    async with served_site(tmp_path, database_url, LONG_SECONDS, LONG_SECONDS) as served:
        before = served.connections()
        with ExitStack() as stack:
            lingering = [
                unread(stack, served.port, wrong + b"Content-Length: 9\r\n\r\n") for _ in range(MAX_LINGERING)
            ]
            for client in lingering:
                await asyncio.get_running_loop().sock_recv(client, 1)
            chunks = wrong + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5000
            for _ in range(5):
                unread(stack, served.port, chunks)
        await until_closed(served, before)
        assert await served.terminate() == 0
    assert not complaints(served)


async def test_each_request_is_one_log_line_without_reset_links(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url) as served:
        for path in (b"/reset_password/eyJsecret", b"/nothing/eyJsecret", b"/login?a=eyJsecret%0d%0a"):
            await talk(served.port, get(path))
        await talk(served.port, get(b"/login") + b"X-Evil: \x1b[31m\r\n\r\n")  # answered by the server itself
        await talk(served.port, b"GET /\x1b[31m\r\nevil HTTP/1.1\r\n\r\n")
    lines = [line for line in served.lines if "event=access" in line]
    assert [line.partition("route=")[2].split()[0] for line in lines[::2]] == [
        "/reset_password/<token>",
        "/login",
    ]
    assert len(lines) == 3
    assert "eyJsecret" not in "".join(served.lines)
    assert all(line.rstrip("\n").isprintable() for line in served.lines)
    assert all(line.startswith("20") for line in served.lines), served.lines


async def test_in_json_every_line_is_json_even_the_servers_own(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url, LOG_FORMAT="json") as served:
        assert (await talk(served.port, get(b"/login"))).status == 200
    loggers = {json.loads(line)["logger"] for line in served.lines}
    assert {"hypercorn.error", "app.events"} <= loggers


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_debug_is_announced_and_an_error_where_others_can_reach_it(
    host: str, database_url: str, tmp_path: Path
) -> None:
    command = ("hypercorn.__main__:main", "--config", str(TOML), "--bind", f"{host}:0", "app:create_app()")
    settings = {"DEBUG": "1", "DATABASE_URL": database_url, "MAIL_COURIER": "none"}
    async with forked_program(Process, *command, folder=tmp_path, read="stderr", **settings) as server:
        await server.line("Running on")
    assert sum(" WARNING " in line for line in server.lines) == 1
    assert any("WARNING" in line and "DEBUG is on" in line for line in server.lines)
    errors = [line for line in server.lines if " ERROR " in line]
    assert len(errors) == (host == "0.0.0.0")
    assert all("listens on 0.0.0.0:" in line for line in errors)


async def test_without_debug_nothing_is_announced(database_url: str, tmp_path: Path) -> None:
    async with served_site(tmp_path, database_url) as served:
        pass
    assert not any(" WARNING " in line or " ERROR " in line for line in served.lines)


@pytest.mark.parametrize(("tls", "reads"), [(False, True), (True, True), (True, False)])
async def test_the_server_stops_while_clients_go_on_sending(
    tls: bool, reads: bool, app: Quart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of what they have pipelined is dropped; over TLS, it comes after the end of the connection.

    A client that reads nothing ends with `abort_connections`, which is called after OUTBOX_GRACE.
    """
    monkeypatch.setattr("asyncio.constants.SSL_SHUTDOWN_TIMEOUT", LONG_SECONDS)
    authority = trustme.CA()
    key = tmp_path / "key.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(key)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    stop = asyncio.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    config = Config.from_mapping(bind=f"fd://{listener.detach()}", graceful_timeout=LONG_SECONDS)
    if tls:
        config.certfile = config.keyfile = str(key)
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    reader, writer = await asyncio.open_connection(
        *address, ssl=trust if tls else None, server_hostname="localhost" if tls else None
    )
    writer.write(PIPELINED.replace(b"127.0.0.1", b"localhost") * (50 if reads else 1))
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await reader.readline() == b"HTTP/1.1 200 \r\n"
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        stop.set()
        with suppress(ConnectionError, ssl.SSLError):
            while reads and await reader.read(2**16):
                pass
        while not reads and not serving.done():
            await asyncio.wait([serving], timeout=0.5)
            abort_connections()
        await serving
    writer.transport.abort()
