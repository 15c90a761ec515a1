"""Every fault at every stage of the SMTP dialogue, and the resulting state of the mail.

Written beside each: the state after the first attempt, the attempts it spent, whether it is in doubt, and how
often the mail arrived when the server was well again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from quart import Quart

from app import outbox
from app.cli.context import close_connections
from tests.inspection import courier_of, outbox_of
from tests.outbox.site import make_due, make_site, post, rows
from tests.smtp_server import SmtpServer

FAULTS = {
    "4xx": "451 4.3.0 not now",
    "421": "421 4.3.2 closing",
    "5xx": "554 5.0.0 never",
    "hang": "hang",
    "drip": "drip",
    "drop": "drop",
    "garbage": "garbage",
}


class Expected(NamedTuple):
    state: str
    attempts: int
    in_doubt: bool
    pauses: bool
    arrives: int


PAUSED = Expected("queued", 0, False, True, 1)
LATER = Expected("queued", 1, False, False, 1)
FAILED = Expected("failed", 1, False, False, 0)
DOUBT = Expected("queued", 1, True, False, 2)
SENT = Expected("sent", 1, False, False, 1)

BROKEN = ("hang", "drip", "drop", "garbage")
MUTE = ("hang", "drip")
OPENS_BREAKER = dict.fromkeys(FAULTS, PAUSED)
MESSAGE = {"4xx": LATER, "421": PAUSED, "5xx": FAILED} | dict.fromkeys(BROKEN, LATER)
MATRIX = {
    "port": {"refuse": PAUSED},
    "connect": {"drop": PAUSED},
    "greeting": OPENS_BREAKER,
    "ehlo": OPENS_BREAKER,
    "starttls": OPENS_BREAKER,
    "auth": OPENS_BREAKER,
    "mail": MESSAGE | {"5xx": PAUSED},
    "rcpt": MESSAGE,
    "data": MESSAGE,
    "dot": MESSAGE | dict.fromkeys(BROKEN, DOUBT) | {"lost": DOUBT._replace(arrives=1)},
    "quit": dict.fromkeys(FAULTS, SENT),
}
CELLS = [(stage, fault) for stage, faults in MATRIX.items() for fault in faults]


@pytest.fixture
async def server(stage: str, tmp_path: Path) -> AsyncIterator[SmtpServer]:
    if stage not in ("starttls", "auth"):
        async with SmtpServer() as server:
            yield server
        return
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with SmtpServer(tls=context, auth="PLAIN") as server:
        yield server


@pytest.fixture
async def app(config: dict[str, Any], stage: str, fault: str, tmp_path: Path) -> AsyncIterator[Quart]:
    if fault in MUTE:
        config = config | {"MAIL_TIMEOUT": 30, "OUTBOX_REPLY_TIMEOUT": 30, "OUTBOX_GRACE": 0.1}
        config |= {"OUTBOX_POLL": 50}  # the database is not used while a reply is awaited
    config |= {"OUTBOX_RETRY_FIRST": 60, "OUTBOX_RETRY_MAX": 60}  # one attempt, however slow this machine
    if stage in ("starttls", "auth"):
        config |= {"MAIL_USE_TLS": True, "MAIL_CA_FILE": str(tmp_path / "ca.pem")}
        config |= {"MAIL_USERNAME": "microblog", "MAIL_PASSWORD": "correct horse"}
    site = make_site(config)
    async with site.app_context():
        yield site
        await close_connections(site)


async def inflict(server: SmtpServer, stage: str, fault: str, **only: Any) -> None:
    if stage == "port":
        await server.close_port()
    else:
        server.fail(stage, FAULTS.get(fault, fault), **only)
        if stage == "ehlo" and fault == "5xx":  # a client may try HELO then
            server.fail("helo", FAULTS[fault], **only)


@pytest.mark.parametrize(("stage", "fault"), CELLS)
async def test_every_fault_at_every_stage(app: Quart, server: SmtpServer, stage: str, fault: str) -> None:
    expected = MATRIX[stage][fault]
    courier = courier_of(app)
    await inflict(server, stage, fault)
    handle = await post()
    draining = asyncio.create_task(outbox.drain())
    while fault in MUTE and stage != "quit" and not draining.done():
        await server.time_out(31)
        await asyncio.wait(
            [draining], timeout=2
        )  # on a slow machine the time may pass before the client waits
    await draining
    [row] = await rows()
    assert (row.state, row.attempts, row.in_doubt) == expected[:3]
    assert courier.breaker.is_open is expected.pauses
    assert (row.last_text is None) is False
    if row.state == "queued":
        await get_well(app, server, stage, handle)
    assert server.arrivals == ({row.message_id: expected.arrives} if expected.arrives else {})


async def get_well(app: Quart, server: SmtpServer, stage: str, handle: outbox.Handle) -> None:
    """Let the server recover, and the mail go out by itself; doubt is not taken back."""
    [before] = await rows("in_doubt")
    await make_due()
    outbox_of(app).poll = 0.05
    if stage == "port":
        await server.open_port()
    server.heal()
    async with app.test_app(), asyncio.timeout(60):
        assert await handle == "sent"
    assert await rows("in_doubt") == [before]


@pytest.mark.parametrize(("stage", "fault"), [cell for cell in CELLS if cell[0] in ("rcpt", "data", "dot")])
@pytest.mark.parametrize("database_kind", ["sqlite"])
async def test_one_bad_message_never_stops_the_others(
    app: Quart, server: SmtpServer, stage: str, fault: str
) -> None:
    await inflict(server, stage, fault, to="bad@example.com")
    await post("urgent", to="bad@example.com")
    good = [await post(to=f"good{number}@example.com") for number in range(8)]
    async with app.test_app(), asyncio.timeout(60):
        assert {await handle for handle in good} == {"sent"}
