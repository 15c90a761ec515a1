"""Profiles: profile pages, editing your own, following and unfollowing, avatars."""

from quart import Quart

from app.profiles import routes


def init_app(app: Quart) -> None:
    """Give `app` the pages of profiles."""
    app.register_blueprint(routes.blueprint)
    app.register_blueprint(routes.avatars)
