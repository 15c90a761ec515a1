"""The main job during outages: pages answer at once, and the mail is delivered later."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from app.dev.catcher import Catcher
from tests.clients import Browser, Visitor
from tests.inspection import reset_link, text_to
from tests.processes import dev_site


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine where nobody listens until somebody is told to."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def config(config: dict[str, Any], silent_port: int) -> dict[str, Any]:
    return config | {
        "MAIL_SUPPRESS_SEND": False,
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": silent_port,
        "OUTBOX_PROBE_FIRST": 0.05,
        "OUTBOX_PROBE_MAX": 0.2,
        "OUTBOX_POLL": 0.2,
    }


async def test_a_mail_server_that_is_down_delays_the_mail_and_not_the_page(
    app: Quart, silent_port: int
) -> None:
    async with app.test_app():
        visitor = Visitor(app)
        await visitor.register("susan")
        page = await visitor.submit("/reset_password_request", email="susan@example.com")
        assert page.location == "/login"
        async with Catcher(port=silent_port) as catcher:
            link = reset_link(await text_to(catcher, "susan@example.com", containing="/reset_password/"))
        page = await visitor.submit(link, password="battery staple", password2="battery staple")
        assert page.location == "/login"
        assert (await visitor.log_in("susan", "battery staple")).location == "/index"


@pytest.mark.slow
async def test_a_kill_between_the_page_and_the_mail_loses_nothing(tmp_path: Path, silent_port: int) -> None:
    environment = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(silent_port)}
    async with dev_site(tmp_path, **environment) as site:
        browser = Browser(site.url)
        fields = {"username": "susan", "email": "susan@example.com"}
        await browser.submit("/register", **fields, password="correct horse", password2="correct horse")
        page = await browser.submit("/reset_password_request", email="susan@example.com")
        assert "Check your email" in page
        site.signal(signal.SIGKILL)
        await site.end()
    async with Catcher(port=silent_port) as catcher, dev_site(tmp_path, **environment) as site:
        link = reset_link(await text_to(catcher, "susan@example.com", containing="/reset_password/"))
        browser = Browser(site.url)
        page = await browser.submit(link, password="battery staple", password2="battery staple")
        assert "Your password has been reset." in page
