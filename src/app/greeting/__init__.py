"""The greeting page of Flasky: it asks for a name, and knows it again."""

from __future__ import annotations

from quart import Quart

from app.greeting import routes


def init_app(app: Quart) -> None:
    """Give `app` the greeting page."""
    app.register_blueprint(routes.blueprint)
