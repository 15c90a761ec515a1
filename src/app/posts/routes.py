"""The pages of posts, and the form that writes one."""

from contextlib import suppress

from quart import current_app, flash, redirect, render_template, request
from quart.typing import ResponseReturnValue
from wtforms import SubmitField
from wtforms.validators import DataRequired

from app.accounts.auth import login_required, visitor
from app.posts import queries
from app.posts.models import BODY_LENGTH, AuthorDeletedError, create_post
from app.web.forms import REQUIRED, Bounded, Form, TextAreaField, storable, unify_newlines, visible
from app.web.paging import parse_cursor
from app.web.templating import Blueprint

POSTED = "Your post is now live!"
POSTED_CLASS = "posted"
"""The class of that message; it tells site.js to discard the saved draft."""

POSTS_PER_ACCOUNT = "30 per 5 minutes"
TOO_MANY_POSTS = "You are posting too fast. Please try again in {}. Your text has not been posted yet."

blueprint = Blueprint("posts", __name__)


class PostForm(Form):
    """Say something."""

    post = TextAreaField(
        "Say something",
        [DataRequired(REQUIRED), Bounded(min=1, max=BODY_LENGTH), visible, storable],
        filters=[unify_newlines],
    )
    submit = SubmitField("Submit")


@blueprint.route("/", methods=["GET", "POST"])
async def front() -> ResponseReturnValue:
    """Show strangers what the site is, and everybody else their timeline."""
    if request.method == "POST" or (await visitor()).is_authenticated:
        return await index()
    return await render_template("posts/front.html", base_url=current_app.config["BASE_URL"])


@blueprint.route("/index", methods=["GET", "POST"])
@login_required
async def index() -> ResponseReturnValue:
    """Show the posts of the visitor and of the people they follow, and accept a new post."""
    me = await visitor()
    form = await PostForm.from_request()
    limit = (POSTS_PER_ACCOUNT, f"post:{me.id}")
    if form.validate_on_submit() and await form.count(limit, message=TOO_MANY_POSTS):
        with suppress(AuthorDeletedError):  # the redirect leads to the login
            await create_post(me.id, form.post.data)
            await flash(POSTED, f"success {POSTED_CLASS}")
        return redirect("/index")
    page = await queries.timeline(me.id, parse_cursor(request.args), current_app.config["POSTS_PER_PAGE"])
    return await form.render("posts/index.html", title="Home", path="/index", page=page)


@blueprint.get("/explore")
@login_required
async def explore() -> ResponseReturnValue:
    """Show everybody's posts."""
    page = await queries.everybody(parse_cursor(request.args), current_app.config["POSTS_PER_PAGE"])
    return await render_template("posts/explore.html", title="Explore", path="/explore", page=page)
