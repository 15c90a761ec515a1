"""SIGTERM to a real server: it ends in time, whatever clients and mail servers do, and mail is let go."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from quart import Quart

from app import email
from tests.conftest import CHEAP_HASH
from tests.faulty_smtp import FaultySmtp
from tests.outbox.site import rows

pytestmark = pytest.mark.slow

HYPERCORN = str(Path(sys.executable).with_name("hypercorn"))
CONFIG = str(Path(__file__).parents[1] / "hypercorn.toml")
GRACE_SECONDS = 1.0


@asynccontextmanager
async def hypercorn(
    folder: Path, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """Serve as an operator does, on a port that is ours; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = await asyncio.create_subprocess_exec(
            HYPERCORN, "--config", CONFIG, "-b", f"fd://{listener.fileno()}", "app:create_app()",
            cwd=folder, env=os.environ | environment, pass_fds=[listener.fileno()],
        )  # fmt: skip
        port = listener.getsockname()[1]
    try:
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_ends_in_time_and_lets_its_mail_go(
    app: Quart, database_url: str, tmp_path: Path
) -> None:
    async with FaultySmtp() as server:
        server.fail("rcpt", "hang")
        for number in range(6):
            await email.send_email("Hi", None, [f"ann{number}@example.com"], "Hi!", None)
        async with hypercorn(
            tmp_path,
            DEBUG="1",
            DATABASE_URL=database_url,
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=str(server.port),
            OUTBOX_GRACE=str(GRACE_SECONDS),
            PASSWORD_HASH_METHOD=CHEAP_HASH,
        ) as (process, port):
            await server.until(lambda: server.hung > 0)
            reader, idle = await asyncio.open_connection("127.0.0.1", port)
            idle.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            _, upload = await asyncio.open_connection("127.0.0.1", port)
            upload.write(
                b"POST /login HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 1000\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=su"
            )
            await upload.drain()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(GRACE_SECONDS + 5):
                assert await process.wait() == 0
            for writer in (idle, upload):
                writer.close()
    found = await rows()
    assert {(row.state, row.claim_id, row.in_doubt) for row in found} == {("queued", None, False)}
    assert not server.arrivals
