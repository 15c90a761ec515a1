"""Which Host this site answers to: Quart accepts TRUSTED_HOSTS and never checks it."""

from __future__ import annotations

from urllib.parse import urlsplit

from quart import Quart, abort, current_app, request

ANY_HOST_PATHS = frozenset({"/healthz", "/readyz"})
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def init_app(app: Quart) -> None:
    """Answer 400 to every request whose Host is not that of BASE_URL or one of TRUSTED_HOSTS."""
    base = urlsplit(app.config["BASE_URL"])
    app.config["ANSWERED_HOSTS"] = frozenset(
        {base.netloc.lower().removesuffix(DEFAULT_PORTS[base.scheme])}
        | {host.lower() for host in app.config["TRUSTED_HOSTS"]}
    )

    @app.before_request
    async def check_host() -> None:
        if request.path not in ANY_HOST_PATHS and not is_answered(request.headers.get("Host", "")):
            abort(400, "This site does not answer to that host name.")


def is_answered(host: str) -> bool:
    """Return whether `host`, a Host header, names this site; a trusted name without port fits any port."""
    host = host.lower()
    answered: frozenset[str] = current_app.config["ANSWERED_HOSTS"]
    name, colon, port = host.rpartition(":")
    if not (colon and port.isascii() and port.isdigit()):
        name = host
    scheme = current_app.config["BASE_URL"].partition(":")[0]
    return host.removesuffix(DEFAULT_PORTS[scheme]) in answered or name in answered
