"""Cookies that only this site's own pages, and under https only https pages, ever see."""

from __future__ import annotations

from quart import Quart

BROWSERS_LONGEST_SECONDS = 400 * 86400
"""What browsers cap a cookie's life at; the server's own rows decide when a login is over."""


def init_app(app: Quart) -> None:
    """Name and mark the site's cookies: HttpOnly, SameSite=Lax, and `__Host-` under https."""
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
        QUART_AUTH_DURATION=BROWSERS_LONGEST_SECONDS,
    )
