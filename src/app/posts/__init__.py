"""Posts: the timeline, the page of everybody's posts, and writing one."""

from quart import Quart

from app.posts import routes


def init_app(app: Quart) -> None:
    """Give `app` the pages of posts."""
    app.register_blueprint(routes.blueprint)
