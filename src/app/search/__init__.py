"""Search: posts by their words, and people by the beginning of their name."""

from quart import Quart

from app.search import routes


def init_app(app: Quart) -> None:
    """Give `app` the search page."""
    app.register_blueprint(routes.blueprint)
