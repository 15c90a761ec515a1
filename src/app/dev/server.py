"""`microblog dev`: the site, migrated, and a mail catcher with an inbox page, on one loop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart

from app import create_app, settings
from app.dev import demo, routes
from app.dev.catcher import Catcher
from app.migrations import run as migrations

DEMO_DATABASE = "sqlite:///var/demo.db"
CATCHER_SETTINGS = {
    "MAIL_USE_TLS": False,
    "MAIL_USE_SSL": False,
    "MAIL_USERNAME": None,
    "MAIL_PASSWORD": None,
    "MAIL_OAUTH2_TOKEN": None,
    "MAIL_DEBUG": False,  # the inbox shows a mail better than its dialogue does
}
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 -- if asked for
"""Where a browser on this machine finds what listens on every address."""
DEMO = f"Demo       log in as {demo.GUEST} with the password: {demo.PASSWORD}"
NO_DEMO = "Demo       not added: somebody else here has one of its names or addresses"
FROM_OUTSIDE = "           (other machines need BASE_URL or TRUSTED_HOSTS to name it as they do)"


class PortTaken(settings.SettingsError):
    """Somebody else listens where the site should."""


async def run(*, host: str, port: int, with_demo: bool = False) -> None:
    """Serve on `host` and `port` until SIGINT or SIGTERM; with MAIL_SERVER set, without the catcher.

    Raises SettingsError for settings that are wrong, PortTaken for an address that is.
    """
    given = settings.from_environment()
    with listen(host, port) as listener:
        config = _config(given, _address(host, listener), with_demo=with_demo)
        settings.load(config)  # what the catcher replaces is checked as well
        async with AsyncExitStack() as stack:
            catcher = None
            if not (given.get("MAIL_SERVER") or given.get("MAIL_HOSTNAME")):
                catcher = await stack.enter_async_context(Catcher(port=0))
                caught = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": catcher.port}
                config |= CATCHER_SETTINGS | caught
            app = create_app(config)
            if catcher is not None:
                routes.init_app(app, catcher.mailbox)
            is_filled = await _fill(app, with_demo=with_demo)
            lines = _greeting(app, catcher)
            if with_demo:
                lines.insert(-1, DEMO if is_filled else NO_DEMO)
            if host in WILDCARDS and not (given.get("BASE_URL") or given.get("TRUSTED_HOSTS")):
                lines.insert(1, FROM_OUTSIDE)
            _announce_when_serving(app, lines)
            await _serve(app, listener)


def _config(given: Mapping[str, str], address: str, *, with_demo: bool) -> dict[str, Any]:
    """Return what differs from a site for real; avatars are drawn here, also where there is no Internet."""
    own = {"DEBUG": True, "AVATARS": "local", "BASE_URL": address}
    if with_demo:  # its people are none of those who live here already
        own["DATABASE_URL"] = DEMO_DATABASE
    return {key: given.get(key) or value for key, value in own.items()}


async def _fill(app: Quart, *, with_demo: bool) -> bool:
    """Make the tables; return whether the people of the demo live here."""
    await migrations.upgrade(app.extensions["database"])
    if not with_demo:
        return False
    async with app.app_context():
        return await demo.fill()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port` (0: a free one); raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with ExitStack() as stack:
            listener = stack.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
            stack.pop_all()
            return listener
    except OSError as error:
        raise PortTaken(
            f"Cannot listen on {host} port {port} ({error.strerror}); "
            "give another port, such as: make run PORT=8001, or microblog dev --port 8001."
        ) from None


def _address(host: str, listener: socket.socket) -> str:
    """Return where a browser finds `listener`."""
    host = WILDCARDS.get(host, host)
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


async def _serve(app: Quart, listener: socket.socket) -> None:
    """Serve until a signal asks to stop."""
    server = Config()
    server.bind = [f"fd://{listener.detach()}"]
    server.loglevel = "WARNING"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(app, server, shutdown_trigger=stop.wait)


def _greeting(app: Quart, catcher: Catcher | None) -> list[str]:
    base = app.config["BASE_URL"]
    lines = [f"Microblog  {base}"]
    if catcher is not None:
        lines.append(
            f"Inbox      {base}/mailbox  (what the site mails; SMTP on port {catcher.port})"
        )
    else:
        lines.append(f"Mail       goes out by {app.config['MAIL_SERVER']}")
    return [*lines, "Stop it with Ctrl-C."]


def _announce_when_serving(app: Quart, lines: list[str]) -> None:
    @app.before_serving
    async def announce() -> None:
        print("\n".join(lines), flush=True)  # noqa: T201 -- what the newcomer came to see
