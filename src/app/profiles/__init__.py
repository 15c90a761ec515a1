"""Profiles: a person's page, editing one's own, following and unfollowing, pictures."""

from __future__ import annotations

from quart import Quart

from app.profiles import avatars, routes


def init_app(app: Quart) -> None:
    """Give `app` the pages of profiles."""
    app.register_blueprint(routes.blueprint)
    app.register_blueprint(avatars.blueprint)
