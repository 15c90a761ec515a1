"""SIGTERM to a real server: it ends in time, whatever clients and mail servers do, and releases its mail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from quart import Quart

from app import email
from tests.outbox.site import rows
from tests.processes import served_site
from tests.smtp_server import SmtpServer

pytestmark = pytest.mark.slow

LONG_SECONDS = 600
"""More than the end may take: idle clients do not leave by themselves, and Hypercorn aborts nothing."""


async def test_a_server_stops_in_time_and_releases_its_mail(
    app: Quart, database_url: str, tmp_path: Path
) -> None:
    async with SmtpServer() as server:
        server.fail("rcpt", "hang")
        for number in range(6):
            await email.send_email("Hi", None, [f"ann{number}@example.com"], "Hi!", None)
        async with served_site(
            tmp_path,
            database_url,
            LONG_SECONDS,
            LONG_SECONDS,
            MAIL_COURIER="loop",
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=str(server.port),
            OUTBOX_GRACE="1",
        ) as served:
            await server.until(lambda: server.hung > 0)
            reader, idle = await asyncio.open_connection("127.0.0.1", served.port)
            idle.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            _, upload = await asyncio.open_connection("127.0.0.1", served.port)
            upload.write(
                b"POST /login HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 1000\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\nusername=su"
            )
            await upload.drain()
            assert await served.terminate() == 0
            for writer in (idle, upload):
                writer.close()
    found = await rows()
    assert {(row.state, row.claim_id, row.in_doubt) for row in found} == {("queued", None, False)}
    assert not server.arrivals
