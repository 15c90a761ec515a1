"""`microblog dev`: the site with an upgraded database and an inbox for its mail, on one event loop."""

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
    "MAIL_DEBUG": False,  # the inbox shows more than a dump of the SMTP dialogue
}
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 -- only on request
"""The address at which a browser on this machine reaches a server that listens on every address."""
DEMO = f"Demo       log in as {demo.USERNAME} with the password: {demo.PASSWORD}"
NO_DEMO = "Demo       not added: an account here already uses one of its names or addresses"
OTHER_MACHINES = "           (to open it from other machines, set BASE_URL or TRUSTED_HOSTS)"


class PortTaken(settings.SettingsError):
    """The site cannot listen on the address it was given."""


async def run(*, host: str, port: int, with_demo: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; catch mail unless MAIL_SERVER is set. Raises SettingsError."""
    environment = settings.from_environment()
    with listen(host, port) as listener:
        config = _config(environment, _address(host, listener), with_demo=with_demo)
        settings.load(config)  # checks also the mail settings that the catcher replaces
        async with AsyncExitStack() as stack:
            catcher = None
            if not (environment.get("MAIL_SERVER") or environment.get("MAIL_HOSTNAME")):
                catcher = await stack.enter_async_context(Catcher())
                caught = {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": catcher.port}
                config |= CATCHER_SETTINGS | caught
            app = create_app(config)
            await migrations.upgrade(app.extensions["database"])
            base = app.config["BASE_URL"]
            lines = [f"Microblog  {base}"]
            if host in WILDCARDS and not (environment.get("BASE_URL") or environment.get("TRUSTED_HOSTS")):
                lines.append(OTHER_MACHINES)
            if catcher is None:
                lines.append(f"Mail       sent through {app.config['MAIL_SERVER']}")
            else:
                routes.init_app(app, catcher.mailbox)
                smtp = f"SMTP on port {catcher.port}"
                lines.append(f"Inbox      {base}/mailbox  (all mail the site sends; {smtp})")
            if with_demo:
                async with app.app_context():
                    lines.append(DEMO if await demo.fill() else NO_DEMO)
            await _serve(app, listener, greeting="\n".join([*lines, "Press Ctrl-C to stop."]))


def _config(environment: Mapping[str, str], address: str, *, with_demo: bool) -> dict[str, Any]:
    """Return settings for development, unless set in `environment`."""
    defaults = {"DEBUG": True, "IS_DEVELOPMENT_SERVER": True, "BASE_URL": address}
    if with_demo:  # keep sample accounts apart from a developer's data
        defaults["DATABASE_URL"] = DEMO_DATABASE
    return {key: environment.get(key) or value for key, value in defaults.items()}


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
            "choose another port, for example: make run PORT=8001, or microblog dev --port 8001."
        ) from None


def _address(host: str, listener: socket.socket) -> str:
    """Return the URL at which a browser on this machine reaches `listener`."""
    host = WILDCARDS.get(host, host)
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"


async def _serve(app: Quart, listener: socket.socket, *, greeting: str) -> None:
    """Serve until SIGINT or SIGTERM; print `greeting` before the first request."""

    @app.before_serving
    async def greet() -> None:
        print(greeting, flush=True)  # noqa: T201 -- the command's output

    server = Config()
    server.bind = [f"fd://{listener.detach()}"]
    server.loglevel = "WARNING"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(app, server, shutdown_trigger=stop.wait)
