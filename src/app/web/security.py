"""Security of requests and responses: headers, hosts, cookies, safe redirects and the client's address.

Sources: OWASP Secure Headers Project; OWASP Unvalidated Redirects and Forwards Cheat Sheet.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import stat
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit

from quart import Quart, Response, abort, current_app, request

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' https://www.gravatar.com",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "frame-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000; includeSubDomains"

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that are answered for any Host header, because load balancers use IP addresses."""
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

COOKIE_SECONDS = 400 * 86400
"""The longest lifetime that browsers accept. The session's row in the database decides when a login ends."""

MAX_REDIRECT_LENGTH = 2000
FORWARDED_HEADERS = ("X-Forwarded-For", "Forwarded")
IPV6_SUBSCRIBER_BITS = 64

DEBUG_ON = (
    "DEBUG is on, which is for development on this machine only; set DEBUG=0 to serve other people"
)
DEBUG_EXPOSED = (
    "DEBUG is on and the site listens on %s, where other machines can reach it; "
    "set DEBUG=0, or listen on 127.0.0.1 only"
)
OPEN_FILES = "/dev/fd"
"""A directory that names the file descriptors of this process (Linux, macOS, BSD)."""

log = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Name the cookies, check the Host of every request and add the headers to every answer."""
    _configure_cookies(app)
    app.config["ALLOWED_HOSTS"] = _allowed_hosts(app)
    headers = headers_for(app)

    if app.debug:
        app.before_serving(warn_of_debug)

    @app.before_request
    async def check_host() -> None:
        if request.path not in HEALTH_PATHS and not is_allowed_host(
            request.headers.get("Host", "")
        ):
            abort(400, "This site does not serve that host name.")

    @app.after_request
    async def set_headers(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response


def headers_for(app: Quart) -> dict[str, str]:
    """Return the headers that every answer of `app` carries unless its view sets its own."""
    if app.config["BASE_URL"].startswith("https://"):
        return {**HEADERS, "Strict-Transport-Security": HSTS}
    return dict(HEADERS)


def _configure_cookies(app: Quart) -> None:
    """Make the site's cookies HttpOnly and SameSite=Lax; under https also Secure and `__Host-`."""
    https = app.config["BASE_URL"].startswith("https://")
    prefix = "__Host-" if https else ""
    app.config.update(
        SESSION_COOKIE_NAME=f"{prefix}session",
        SESSION_COOKIE_SECURE=https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        QUART_AUTH_COOKIE_NAME=f"{prefix}login",
        QUART_AUTH_COOKIE_SECURE=https,
        QUART_AUTH_COOKIE_HTTP_ONLY=True,
        QUART_AUTH_COOKIE_SAMESITE="Lax",
        DEVICE_COOKIE_NAME=f"{prefix}device",
        QUART_AUTH_DURATION=COOKIE_SECONDS,
    )


def _allowed_hosts(app: Quart) -> frozenset[str]:
    """Return the hosts of BASE_URL and TRUSTED_HOSTS. Quart accepts TRUSTED_HOSTS but never checks it."""
    base = urlsplit(app.config["BASE_URL"])
    host = base.netloc.lower().removesuffix(DEFAULT_PORTS[base.scheme])
    return frozenset({host, *(name.lower() for name in app.config["TRUSTED_HOSTS"])})


def is_allowed_host(host: str) -> bool:
    """Return whether the Host header `host` names this site; an allowed name without port fits any port."""
    host = host.lower()
    allowed: frozenset[str] = current_app.config["ALLOWED_HOSTS"]
    name, colon, port = host.rpartition(":")
    if not (colon and port.isascii() and port.isdigit()):
        name = host
    scheme = current_app.config["BASE_URL"].partition(":")[0]
    return host.removesuffix(DEFAULT_PORTS[scheme]) in allowed or name in allowed


def safe_path(target: str | None) -> str | None:
    r"""Return `target` as an ASCII path on this site, or None if it could lead anywhere else.

    Other hosts (`//e`, `/\e`, `https:e`), backslashes and control characters are refused, also when
    percent-encoded once or twice. Spaces must be written as %20.
    """
    if not target or len(target) > MAX_REDIRECT_LENGTH or " " in target:
        return None
    once = unquote(target)
    for path in (target, once, unquote(once)):
        if not path.startswith("/") or path.startswith("//") or "\\" in path:
            return None
        if any(ord(character) < 0x20 or 0x7F <= ord(character) <= 0xA0 for character in path):
            return None
    return quote(target, safe="/?&=%:@!$'()*+,;~#", errors="replace")


def client_address() -> str:
    """Return the client's IP address for rate limits; of IPv6 the /64 network of one subscriber."""
    address = request.remote_addr or "unknown"
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_SUBSCRIBER_BITS), strict=False))
    return str(parsed)


def is_local_client() -> bool:
    """Return whether the request comes from this machine, and not through a proxy on it."""
    try:
        is_loopback = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        is_loopback = False
    return is_loopback and not any(header in request.headers for header in FORWARDED_HEADERS)


async def warn_of_debug() -> None:
    """Log that DEBUG is on, and an error for each address at which other machines reach the site.

    ASGI does not tell an app where its server listens, but Hypercorn binds its sockets before the app starts.
    """
    if not current_app.config.get("IS_DEVELOPMENT_SERVER"):
        log.warning(DEBUG_ON)
    for host, port in sorted(_bound_addresses()):
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            log.error(DEBUG_EXPOSED, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _bound_addresses() -> Iterator[tuple[str, int]]:
    """Yield IP address and port of each TCP socket of this process that waits for connections."""
    for name in os.listdir(OPEN_FILES):
        try:
            copy = os.dup(int(name))
        except OSError:  # the descriptor by which listdir read the directory
            continue
        if not stat.S_ISSOCK(os.fstat(copy).st_mode):
            os.close(copy)
            continue
        with socket.socket(fileno=copy) as opened:
            is_tcp = opened.family in (socket.AF_INET, socket.AF_INET6)
            if is_tcp and opened.type == socket.SOCK_STREAM and not _has_peer(opened):
                host, port = opened.getsockname()[:2]
                if port:
                    yield host, port


def _has_peer(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
