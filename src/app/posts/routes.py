"""The pages of posts."""

from __future__ import annotations

from contextlib import suppress

from quart import current_app, flash, redirect, render_template, request
from quart.typing import ResponseReturnValue

from app.accounts.auth import login_required, visitor
from app.posts import queries, service
from app.posts.forms import PostForm
from app.web import paging
from app.web.blueprint import Blueprint

POSTED = "Your post is now live!"

blueprint = Blueprint("posts", __name__)


@blueprint.route("/", methods=["GET", "POST"])
@blueprint.route("/index", methods=["GET", "POST"])
@login_required
async def index() -> ResponseReturnValue:
    """Show what the visitor and the people they follow said, and take something new."""
    me = await visitor()
    form = await PostForm.from_request()
    if form.validate_on_submit():
        with suppress(service.AuthorGone):  # the timeline asks to log in
            await service.say(me.id, form.post.data)
            await flash(POSTED, "success")
        return redirect("/index")
    page = await queries.timeline(me.id, paging.asked(request.args), _size())
    html = await render_template(
        "posts/index.html", title="Home", form=form, path="/index", page=page
    )
    return html, form.status


@blueprint.get("/explore")
@login_required
async def explore() -> ResponseReturnValue:
    """Show what everybody said."""
    page = await queries.everybody(paging.asked(request.args), _size())
    return await render_template("posts/explore.html", title="Explore", path="/explore", page=page)


def _size() -> int:
    size: int = current_app.config["POSTS_PER_PAGE"]
    return size
