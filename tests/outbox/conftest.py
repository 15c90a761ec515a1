"""Fixtures of the outbox's tests: a site with a few kinds of mail, and a faulty mail server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from quart import Quart

from app.cli.context import close_connections
from app.outbox.state import Outbox
from tests.inspection import outbox_of
from tests.outbox.site import QUICK, make_site
from tests.smtp_server import SmtpServer


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as server:
        yield server


@pytest.fixture
def config(config: dict[str, Any], server: SmtpServer) -> dict[str, Any]:
    return config | QUICK | {"MAIL_PORT": server.port, "MAIL_SUPPRESS_SEND": False}


@pytest.fixture
async def app(config: dict[str, Any]) -> AsyncIterator[Quart]:
    site = make_site(config)
    async with site.app_context():
        yield site
        await close_connections(site)


@pytest.fixture
def box(app: Quart) -> Outbox:
    return outbox_of(app)
