"""What all pages share: middleware, forms, security headers, limits, static files and error pages.

Nothing in this package depends on a feature.
"""

from quart import Quart

from app import logs
from app.web import (
    appearance,
    connections,
    csrf,
    errors,
    health,
    languages,
    limits,
    middleware,
    request_log,
    security,
    static,
    templating,
)


def init_app(app: Quart) -> None:
    """Set up everything in this package; features and their pages come after it."""
    logs.init_app(app)
    templating.init_app(app)
    languages.init_app(app)
    request_log.init_app(app)
    security.init_app(app)
    csrf.init_app(app)
    limits.init_app(app)
    static.init_app(app)
    appearance.init_app(app)
    errors.init_app(app)
    health.init_app(app)
    middleware.init_app(app)
    connections.init_app(app)
