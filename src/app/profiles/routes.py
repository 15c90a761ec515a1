"""The pages of profiles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quart import abort, current_app, flash, redirect, render_template, request
from quart.typing import ResponseReturnValue

from app.accounts.auth import login_required, login_required_from, visitor
from app.accounts.models import USERNAME_LENGTH
from app.accounts.names import person_path
from app.accounts.service import Taken
from app.posts import queries as posts
from app.profiles import queries, service
from app.profiles.forms import EditProfileForm
from app.web import paging
from app.web.blueprint import Blueprint
from app.web.csrf import BUTTON_TOO_OLD
from app.web.forms import EmptyForm

SAVED = "Your changes have been saved."
FOLLOWING = "You are following {}!"
NOT_FOLLOWING = "You are not following {}."
NOT_FOLLOW_ONESELF = "You cannot follow yourself!"
NOT_UNFOLLOW_ONESELF = "You cannot unfollow yourself!"
UNKNOWN = "User {} not found."

blueprint = Blueprint("profiles", __name__)


def _asked(username: str) -> str:
    """Return the name in the path, or else the one in the query (see `person_path`)."""
    return username or request.args.get("name", "")


def _profile(username: str) -> str:
    return person_path("user", _asked(username))


@blueprint.get("/user/", defaults={"username": ""})
@blueprint.get("/user/<path:username>")
@login_required
async def user(username: str) -> ResponseReturnValue:
    """Show a person and what they said."""
    me = await visitor()
    person = await queries.find(_asked(username), reader_id=me.id)
    if person is None:
        abort(404)
    size = current_app.config["POSTS_PER_PAGE"]
    page = await posts.of_person(person.id, paging.asked(request.args), size)
    return await render_template(
        "profiles/user.html",
        title=person.username,
        user=person,
        page=page,
        path=person_path("user", person.username),
    )


@blueprint.route("/edit_profile", methods=["GET", "POST"])
@login_required
async def edit_profile() -> ResponseReturnValue:
    """Let the visitor change their name and what they say about themselves."""
    me = await visitor()
    known = {} if request.method == "POST" else {"about_me": await queries.about_me(me.id)}
    form = await EditProfileForm.from_request(own=me.username, username=me.username, **known)
    if form.validate_on_submit():
        name = form.username.data
        try:
            await service.edit(
                me.id, rename=name if name != me.username else None, about_me=form.about_me.data
            )
        except Taken:
            form.refuse_username()
        else:
            await flash(SAVED, "success")
            return redirect("/edit_profile")
    html = await render_template("profiles/edit_profile.html", title="Edit Profile", form=form)
    return html, form.status


@blueprint.post("/follow/", defaults={"username": ""})
@blueprint.post("/follow/<path:username>")
@login_required_from(_profile)
async def follow(username: str) -> ResponseReturnValue:
    """Follow a person."""
    return await _press(service.follow, username, FOLLOWING, NOT_FOLLOW_ONESELF)


@blueprint.post("/unfollow/", defaults={"username": ""})
@blueprint.post("/unfollow/<path:username>")
@login_required_from(_profile)
async def unfollow(username: str) -> ResponseReturnValue:
    """Stop following a person."""
    return await _press(service.unfollow, username, NOT_FOLLOWING, NOT_UNFOLLOW_ONESELF)


async def _press(
    change: Callable[[int, str], Awaitable[str]], username: str, done: str, oneself: str
) -> ResponseReturnValue:
    """Carry out a button of a profile, say how it went, and go back to the profile."""
    if not (await EmptyForm.from_request()).validate_on_submit():
        abort(400, BUTTON_TOO_OLD)
    username = _asked(username)
    try:
        name = await change((await visitor()).id, username)
    except service.Unknown:
        await flash(UNKNOWN.format(_short(username)), "danger")
        return redirect("/index")
    except service.Oneself as error:
        await flash(oneself, "warning")
        return redirect(person_path("user", error.username))
    await flash(done.format(name))
    return redirect(person_path("user", name))


def _short(username: str) -> str:
    """Return a name that nobody has in a form that a cookie and a page can hold."""
    sound = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in username
    )
    return sound if len(sound) <= USERNAME_LENGTH else f"{sound[:USERNAME_LENGTH]}…"
