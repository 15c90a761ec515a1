"""The pages of posts: timelines, a post with its replies, and the forms that write and delete posts."""

import re
from contextlib import suppress

from quart import abort, current_app, redirect, render_template, request
from quart.typing import ResponseReturnValue
from wtforms import SubmitField
from wtforms.validators import DataRequired

from app.accounts.auth import login_required, login_required_from, visitor
from app.posts import people, queries, service
from app.posts.models import BODY_LENGTH
from app.posts.service import AuthorDeletedError, PostDeletedError
from app.web.forms import (
    REQUIRED,
    Bounded,
    EmptyForm,
    Form,
    StringField,
    TextAreaField,
    storable,
    unify_newlines,
    visible,
)
from app.web.languages import gettext, lazy_gettext, lazy_pgettext
from app.web.paging import parse_cursor
from app.web.templating import Blueprint, flash

POSTED = lazy_gettext("Your post is now live!")
REPLIED = lazy_gettext("Your reply is now live!")
POSTED_CLASS = "posted"
"""The class of these messages; it tells site.js to discard the saved draft."""
DELETED = lazy_gettext("Your post has been deleted.")
REPLY_TO_NOTHING = lazy_gettext(
    "The post that you replied to has been deleted. Your reply has not been posted."
)

POSTS_PER_ACCOUNT = "30 per 5 minutes"
TOO_MANY_POSTS = lazy_gettext(
    "You are posting too fast. Please try again in %(time)s. Your text has not been posted yet."
)
POST_ID = re.compile("[1-9][0-9]{0,9}")
MAX_POST_ID = 2**31 - 1  # of PostgreSQL's INTEGER

blueprint = Blueprint("posts", __name__)


class PostForm(Form):
    """Say something."""

    post = TextAreaField(
        lazy_gettext("Say something"),
        [DataRequired(REQUIRED), Bounded(min=1, max=BODY_LENGTH), visible, storable],
        filters=[unify_newlines],
    )
    language = StringField(lazy_gettext("Language"))
    submit = SubmitField(lazy_pgettext("button", "Post"))


@blueprint.route("/", methods=["GET", "POST"])
async def front() -> ResponseReturnValue:
    """Show the front page to guests, and the timeline to everybody else."""
    if request.method == "POST" or (await visitor()).is_authenticated:
        return await index()
    return await render_template("posts/front.html", base_url=current_app.config["BASE_URL"])


@blueprint.route("/index", methods=["GET", "POST"])
@login_required
async def index() -> ResponseReturnValue:
    """Show the posts of the visitor and of the people they follow, and accept a new post."""
    me = await visitor()
    form = await PostForm.from_request()
    if await _store_post(form, POSTED):
        return redirect("/index")
    page = await queries.timeline(me.id, parse_cursor(request.args), current_app.config["POSTS_PER_PAGE"])
    suggested = await people.suggestions().get(me.id)
    return await form.render(
        "posts/index.html", title=lazy_gettext("Home"), path="/index", page=page, suggested=suggested
    )


@blueprint.get("/explore")
@login_required
async def explore() -> ResponseReturnValue:
    """Show everybody's posts."""
    page = await queries.everybody(parse_cursor(request.args), current_app.config["POSTS_PER_PAGE"])
    suggested = await people.suggestions().get((await visitor()).id)
    return await render_template(
        "posts/explore.html", title=lazy_gettext("Explore"), path="/explore", page=page, suggested=suggested
    )


@blueprint.get("/post/<number>")
@login_required
async def post(number: str) -> ResponseReturnValue:
    """Show a post, what it replies to, and its replies."""
    entry = await queries.find(_post_id(number))
    if entry is None:
        abort(404)
    return await _render_post(entry, await PostForm.from_request())


@blueprint.post("/post/<number>/reply")
@login_required_from(lambda number: f"/post/{number}")
async def reply(number: str) -> ResponseReturnValue:
    """Reply to a post; if it has been deleted, the text may become a post of its own."""
    post_id = _post_id(number)
    form = await PostForm.from_request()
    try:
        if await _store_post(form, REPLIED, reply_to=post_id):
            return redirect(f"/post/{post_id}")
        entry = await queries.find(post_id)
    except PostDeletedError:
        entry = None
    if entry is None:
        form.form_errors.append(REPLY_TO_NOTHING)
        page, _, headers = await form.render("posts/lost_reply.html", title=lazy_gettext("Post Deleted"))
        return page, 404, headers
    return await _render_post(entry, form)


@blueprint.route("/post/<number>/delete", methods=["GET", "POST"])
@login_required
async def delete(number: str) -> ResponseReturnValue:
    """Delete one of the visitor's posts, after asking."""
    me, post_id = await visitor(), _post_id(number)
    form, entry = await EmptyForm.from_request(), await queries.find(post_id)
    if entry is not None and entry.author_id != me.id:
        abort(404)
    if form.validate_on_submit():
        with suppress(PostDeletedError):  # an earlier click has deleted it
            await service.delete_post(me.id, post_id)
        await flash(DELETED, "success")
        answered = entry.parent if entry else None
        return redirect(f"/post/{answered.id}" if answered and answered.id else "/index")
    if entry is None:
        abort(404)
    return await form.render("posts/delete.html", title=lazy_gettext("Delete Post"), post=entry)


async def _store_post(form: PostForm, message: str, *, reply_to: int | None = None) -> bool:
    """Store the post in `form` and flash `message`; return False if the form is not submitted or not valid.

    Raises PostDeletedError if the post that it replies to was deleted.
    """
    me = await visitor()
    limit = (POSTS_PER_ACCOUNT, f"post:{me.id}")
    if not (form.validate_on_submit() and await form.count(limit, message=TOO_MANY_POSTS)):
        return False
    try:
        languages = current_app.config["LANGUAGES"]
        language = form.language.data if form.language.data in languages else None
        await service.create_post(me.id, form.post.data, language=language, reply_to=reply_to)
    except AuthorDeletedError:
        pass  # the next page asks the visitor to log in
    else:
        await flash(message, f"success {POSTED_CLASS}")
    return True


def _post_id(number: str) -> int:
    """Return the id in a URL; answer 404 for anything else, such as "007" or digits other than ASCII's."""
    if not POST_ID.fullmatch(number) or int(number) > MAX_POST_ID:
        abort(404)
    return int(number)


async def _render_post(entry: queries.PostEntry, form: PostForm) -> ResponseReturnValue:
    size = current_app.config["POSTS_PER_PAGE"]
    page = await queries.replies_to(entry.id, parse_cursor(request.args), size)
    return await form.render(
        "posts/post.html",
        title=gettext("Post by %(username)s", username=entry.username),
        path=f"/post/{entry.id}",
        post=entry,
        page=page,
        suggested=people.suggestions().kept((await visitor()).id),
    )
