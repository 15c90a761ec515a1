"""Posts: the timeline, the page of everybody's posts, and the life of a post: replies, mentions, deletion."""

from quart import Quart

from app.accounts.service import before_deletion
from app.posts import people, routes, service


def init_app(app: Quart) -> None:
    """Give `app` the pages of posts."""
    before_deletion(app, service.uncount_replies)
    people.init_app(app)
    app.register_blueprint(routes.blueprint)
