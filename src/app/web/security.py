"""Security of requests and responses: headers, hosts, cookies, safe redirects and the client's address.

Sources: OWASP Secure Headers Project; OWASP Unvalidated Redirects and Forwards Cheat Sheet.
"""

import ipaddress
import logging
import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from hypercorn.typing import HTTPScope
from quart import Quart, abort, current_app, request
from quart.sessions import SecureCookieSessionInterface

from app.web.languages import gettext

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; frame-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
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
GRAVATAR = "https://www.gravatar.com"
HSTS = "max-age=31536000; includeSubDomains"

HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Paths that are answered for any Host header, because load balancers use IP addresses."""
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

COOKIE_SECONDS = 400 * 86400  # as long as browsers accept; the session's row decides when a login ends

MAX_REDIRECT_LENGTH = 2000
PROXY_HEADERS = (
    *("Forwarded", "Via", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "True-Client-IP"),
    *("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"),
    *("X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Scheme", "X-Original-Host"),
    *("CF-Connecting-IP", "CF-Ray", "Fastly-Client-IP", "X-Envoy-External-Address", "X-ProxyUser-IP"),
    *("X-Amzn-Trace-Id", "X-ARR-LOG-ID", "X-Scheme", "X-Varnish"),
)
"""Headers that proxies add to a request, and browsers do not."""

ADDRESS = re.compile(r"\[([^\]%]*)\](?::\d{1,5})?|([^:%]*)(?::\d{1,5})?|([^%]*)")
"""An IP address as proxies write it: with or without a port, never with a zone."""
IPV6_SUBSCRIBER_BITS = 64

DEBUG_ON = "DEBUG is on, which is for development on this machine only; set DEBUG=0 to serve other people"
DEBUG_EXPOSED = (
    "DEBUG is on and the site listens on %s, where other machines can reach it; "
    "set DEBUG=0, or listen on 127.0.0.1 only"
)
OPEN_FILES = "/dev/fd"  # names the file descriptors of this process (Linux, macOS, BSD)

log = logging.getLogger(__name__)


def init_app(app: Quart) -> None:
    """Name the cookies, and check the Host of every request."""
    _configure_cookies(app)
    app.config["ALLOWED_HOSTS"] = _allowed_hosts(app)

    if app.debug:
        app.before_serving(warn_of_debug)

    app.before_request(check_host)


def headers_for(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of every response; a view may set its own."""
    headers = dict(HEADERS)
    if config["AVATARS"] == "gravatar":
        policy = headers["Content-Security-Policy"]
        headers["Content-Security-Policy"] = policy.replace("img-src 'self'", f"img-src 'self' {GRAVATAR}")
    if config["BASE_URL"].startswith("https://"):
        headers["Strict-Transport-Security"] = HSTS
    return headers


class SessionCookie(SecureCookieSessionInterface):
    """Quart's session cookie. Its serializer is kept, since to make it twice takes 1 % of a page's time."""

    def __init__(self) -> None:
        self._serializers: dict[tuple[str, ...], Any] = {}

    def get_signing_serializer(self, app: Quart) -> Any:
        """Return the serializer for the app's keys."""
        keys = (app.config["SECRET_KEY"], *app.config["SECRET_KEY_FALLBACKS"])
        if keys not in self._serializers:
            self._serializers[keys] = super().get_signing_serializer(app)
        return self._serializers[keys]


def _configure_cookies(app: Quart) -> None:
    """Make the site's cookies HttpOnly and SameSite=Lax; under https also Secure and `__Host-`."""
    app.session_interface = SessionCookie()
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


async def check_host() -> None:
    """Answer 400 unless the Host header names this site; an allowed name without port fits any port."""
    if request.path in HEALTH_PATHS:
        return
    host = request.headers.get("Host", "").lower()
    allowed: frozenset[str] = current_app.config["ALLOWED_HOSTS"]
    name, colon, port = host.rpartition(":")
    if not (colon and port.isascii() and port.isdigit()):
        name = host
    scheme = current_app.config["BASE_URL"].partition(":")[0]
    if host.removesuffix(DEFAULT_PORTS[scheme]) not in allowed and name not in allowed:
        abort(400, gettext("This site does not serve that host name."))


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


def this_page() -> str:
    """Return the path and query of the current request, to come back to."""
    path = quote(request.path, errors="replace")
    query = request.query_string.decode("ascii", "replace")
    return f"{path}?{query}" if query else path


def parse_address(text: str) -> str | None:
    """Return the IP address in `text`, None if there is none; a port, as some proxies add it, is dropped.

    "203.0.113.9:5555" -> "203.0.113.9"; "[2001:db8::1]:99" -> "2001:db8::1"
    """
    match = ADDRESS.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address(next(filter(None, match.groups()), "") if match else "")
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


@lru_cache(maxsize=1024)
def peer(address: str) -> str:
    """Return the key by which a client is counted: its address, for IPv6 the /64 network of a subscriber."""
    parsed = parse_address(address)
    if parsed is None or ":" not in parsed:
        return parsed or "unknown"
    return str(ipaddress.ip_network((parsed, IPV6_SUBSCRIBER_BITS), strict=False))


def peer_of(scope: HTTPScope) -> str:
    """Return the peer that sends a request, for limits on what one peer may hold."""
    return peer((scope.get("client") or ("",))[0])


def current_peer() -> str:
    """Return the peer that sends the current request, for rate limits."""
    return peer(request.remote_addr or "")


def is_local_client() -> bool:
    """Return whether the request comes directly from this machine, not through a proxy on it.

    A proxy is recognized by the headers it adds, by HTTP/1.0, which nginx uses unless configured otherwise,
    or by the host name that its visitors use, which it passes on.
    """
    if any(header in request.headers for header in PROXY_HEADERS) or request.http_version == "1.0":
        return False
    host = request.headers.get("Host", "").lower()
    is_local_name = host.partition(":")[0] == "localhost" or _is_loopback(host)
    return is_local_name and _is_loopback(request.remote_addr or "")


def _is_loopback(address: str) -> bool:
    parsed = parse_address(address)
    return parsed is not None and ipaddress.ip_address(parsed).is_loopback


async def warn_of_debug() -> None:
    """Log that DEBUG is on, and an error for each address at which other machines reach the site.

    ASGI does not tell an app where its server listens, but Hypercorn binds its sockets before the app starts.
    """
    if not current_app.config.get("IS_DEVELOPMENT_SERVER"):
        log.warning(DEBUG_ON)
    for host, port in sorted(bound.getsockname()[:2] for bound in bound_sockets()):
        if not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
            log.error(DEBUG_EXPOSED, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def bound_sockets() -> Iterator[socket.socket]:
    """Yield each TCP socket of this process that waits for connections, or will; the copy is then closed."""
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
            is_stream = is_tcp and opened.type == socket.SOCK_STREAM
            if is_stream and not _has_peer(opened) and opened.getsockname()[1]:
                yield opened


def _has_peer(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
