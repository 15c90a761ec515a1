"""What all pages share: forms, safe redirects, hosts, headers, limits, static files and error pages.

It knows no feature.
"""

from __future__ import annotations

from quart import Quart

from app.web import (
    cookies,
    csrf,
    errors,
    exchange,
    flashes,
    gate,
    headers,
    health,
    hosts,
    limits,
    logs,
    static,
    templates,
    times,
)


def init_app(app: Quart) -> None:
    """Give `app` everything of this package; features and their pages come after it."""
    logs.init_app(app)
    templates.init_app(app)
    times.init_app(app)
    cookies.init_app(app)
    exchange.init_app(app)
    hosts.init_app(app)
    headers.init_app(app)
    csrf.init_app(app)
    flashes.init_app(app)
    limits.init_app(app)
    static.init_app(app)
    errors.init_app(app)
    health.init_app(app)
    gate.init_app(app)
