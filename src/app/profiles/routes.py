"""The pages of profiles, the buttons Follow and Unfollow, and the avatars drawn here (AVATARS=local)."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from quart import Response, abort, current_app, redirect, render_template, request
from quart.typing import ResponseReturnValue
from werkzeug.exceptions import TooManyRequests
from wtforms import HiddenField, SelectField, SubmitField
from wtforms.validators import StopValidation, ValidationError

from app.accounts.auth import login_required, login_required_from, visitor
from app.accounts.forms import DIFFERENT_USERNAME, UsernameField
from app.accounts.models import ABOUT_ME_LENGTH, USERNAME_LENGTH
from app.accounts.names import avatar_url, people_path, person_path
from app.accounts.service import Taken
from app.accounts.sessions import Visitor
from app.posts import people
from app.posts import queries as posts
from app.profiles import queries, service
from app.web import languages
from app.web.csrf import BUTTON_EXPIRED
from app.web.forms import (
    Bounded,
    EmptyForm,
    Form,
    StringField,
    TextAreaField,
    add_error,
    storable,
    unify_newlines,
)
from app.web.languages import gettext, lazy_gettext
from app.web.paging import parse_cursor
from app.web.security import safe_path
from app.web.static import FOREVER
from app.web.templating import Blueprint, flash

SAVED = lazy_gettext("Your changes have been saved.")
FOLLOWING = lazy_gettext("You are following %(username)s!")
NOT_FOLLOWING = lazy_gettext("You are not following %(username)s.")
CANNOT_FOLLOW_SELF = lazy_gettext("You cannot follow yourself!")
CANNOT_UNFOLLOW_SELF = lazy_gettext("You cannot unfollow yourself!")
CHANGES_PER_ACCOUNT = "30 per 5 minutes"
FOLLOWS_PER_ACCOUNT = "100 per 5 minutes"  # and unfollows
NAMES_PER_ACCOUNT = "5 per day"
TOO_MANY_NAMES = lazy_gettext(
    "You have changed your name too often. Please try again in %(time)s. Nothing was saved."
)
NOT_FOUND = lazy_gettext("User %(username)s not found.")
UNKNOWN_TIME_ZONE = lazy_gettext("Please choose a time zone from the list, such as Europe/Madrid.")
FOLLOWERS = lazy_gettext("Followers of %(username)s")
NO_FOLLOWERS = lazy_gettext("Nobody follows %(username)s yet.")
FOLLOWED = lazy_gettext("People %(username)s follows")
FOLLOWS_NOBODY = lazy_gettext("%(username)s does not follow anybody yet.")

DRAWING = re.compile(r"([0-9a-f]{32})(?:-([^\W_]{0,2}))?")
"""The name of a drawn avatar: a digest and the initials (see `avatar_url`)."""
AVATAR_PIXELS = 128

blueprint = Blueprint("profiles", __name__)
avatars = Blueprint("avatars", __name__)


class OwnUsernameField(UsernameField):
    """A name that may also stay unchanged, because old databases contain names that today's rules refuse."""

    own: str = ""

    def pre_validate(self, form: object) -> None:
        """Accept the person's current name without checking it."""
        sent = self.raw_data[0] if self.raw_data else None
        if self.own and sent is not None and self.own in (sent, self.data):
            self.data = self.own
            raise StopValidation


def _time_zone(value: str | None) -> str | None:
    """Return the name of a time zone in its usual spelling (a WTForms filter)."""
    return value and languages.time_zones().get("_".join(value.split()).lower(), value)


def _is_time_zone(form: object, field: StringField) -> None:
    """Refuse anything but the name of a time zone (a WTForms validator)."""
    if field.data and field.data not in languages.time_zones().values():
        raise ValidationError(UNKNOWN_TIME_ZONE)


class EditProfileForm(Form):
    """Edit Profile."""

    username = OwnUsernameField()
    about_me = TextAreaField(
        lazy_gettext("About me"), [storable, Bounded(max=ABOUT_ME_LENGTH)], filters=[unify_newlines]
    )
    language = SelectField(lazy_gettext("Language"), choices=[])
    timezone = StringField(lazy_gettext("Time zone"), [_is_time_zone], filters=[_time_zone])
    submit = SubmitField(lazy_gettext("Save"))

    def __init__(self, formdata: Any = None, *, own: str = "", **kwargs: Any) -> None:
        super().__init__(formdata, **kwargs)
        self.username.own = own
        offered = [languages.find(code) for code in current_app.config["LANGUAGES"]]
        choices = [(language.code, language.name, {"lang": language.code}) for language in offered]
        self.language.choices = [("", gettext("Automatic"), {}), *choices]

    def settings(self) -> dict[str, str | None]:
        """Return the language and the time zone to store, None for automatic; only fields that were sent."""
        fields = (self.language, self.timezone)
        return {field.name: field.data or None for field in fields if field.raw_data}


class FollowForm(EmptyForm):
    """The button Follow or Unfollow; `next`: the page with the button."""

    next = HiddenField()


def _username(from_path: str) -> str:
    """Return the name in the path, or else the one in the query (see `person_path`)."""
    return from_path or request.args.get("name", "")


def _profile_path(username: str) -> str:
    return person_path("user", _username(username))


@blueprint.get("/user/<path:username>/followers")
@login_required
async def followers(username: str) -> ResponseReturnValue:
    """List the people who follow a person."""
    return await _list_people(username, "followers", FOLLOWERS, NO_FOLLOWERS)


@blueprint.get("/user/<path:username>/following")
@login_required
async def following(username: str) -> ResponseReturnValue:
    """List the people whom a person follows."""
    return await _list_people(username, "following", FOLLOWED, FOLLOWS_NOBODY)


async def _list_people(username: str, which: str, title: str, empty: str) -> ResponseReturnValue:
    """Show a page of one of the two lists of a person."""
    if username == "-":
        username = request.args.get("name", username)
    person = await queries.identify(username)
    if person is None:
        abort(404)
    user_id, name = person
    size, reader = current_app.config["POSTS_PER_PAGE"], (await visitor()).id
    return await render_template(
        "profiles/people.html",
        title=title % {"username": name},
        user_id=user_id,
        username=name,
        page=await people.read_list(which, user_id, reader, parse_cursor(request.args), size),
        path=people_path(name, which),
        empty=empty % {"username": name},
        suggested=people.suggestions().kept(reader),
    )


@blueprint.get("/user/", defaults={"username": ""})
@blueprint.get("/user/<path:username>")
@login_required
async def user(username: str) -> ResponseReturnValue:
    """Show a person and their posts."""
    me = await visitor()
    person = await queries.find(_username(username), reader_id=me.id)
    if person is None:
        abort(404)
    size = current_app.config["POSTS_PER_PAGE"]
    page = await posts.by_author(person.id, parse_cursor(request.args), size)
    return await render_template(
        "profiles/user.html",
        title=person.username,
        user=person,
        avatar=avatar_url(person.id, person.username, person.email, AVATAR_PIXELS),
        page=page,
        path=person_path("user", person.username),
        suggested=people.suggestions().kept(me.id),
    )


@blueprint.route("/edit_profile", methods=["GET", "POST"])
@login_required
async def edit_profile() -> ResponseReturnValue:
    """Let the visitor change their name, their text about themselves, their language and their time zone."""
    me = await visitor()
    stored = {} if request.method == "POST" else {"about_me": await queries.about_me(me.id)}
    stored |= {"language": me.language or "", "timezone": me.timezone or ""}
    form = await EditProfileForm.from_request(own=me.username, username=me.username, **stored)
    limit = (CHANGES_PER_ACCOUNT, f"profile:{me.id}")
    is_allowed = form.validate_on_submit() and await form.count(limit)
    if is_allowed and await _check_new_name(form.username.data, me, form):
        name = form.username.data
        try:
            await service.update_profile(
                me.id,
                new_name=name if name != me.username else None,
                about_me=form.about_me.data,
                **form.settings(),
            )
        except Taken:
            add_error(form.username, DIFFERENT_USERNAME)
        else:
            await flash(SAVED, "success")
            response = redirect("/edit_profile")
            if form.language.raw_data:
                languages.remember(response, form.language.data)
            return response
    return await form.render(
        "profiles/edit_profile.html",
        title=lazy_gettext("Edit Profile"),
        time_zones=languages.time_zones().values(),
    )


async def _check_new_name(name: str, me: Visitor, form: EditProfileForm) -> bool:
    """Return whether the account may take `name`; if not, `form` shows why.

    A change of name is counted against a limit, unless the name is taken.
    """
    if name == me.username:
        return True
    other = await queries.identify(name)
    if other is not None and other[0] != me.id:
        add_error(form.username, DIFFERENT_USERNAME)
        return False
    return await form.count((NAMES_PER_ACCOUNT, f"rename:{me.id}"), message=TOO_MANY_NAMES)


@blueprint.post("/follow/", defaults={"username": ""})
@blueprint.post("/follow/<path:username>")
@login_required_from(_profile_path)
async def follow(username: str) -> ResponseReturnValue:
    """Follow a person."""
    return await _change_follow(service.follow, username, FOLLOWING, CANNOT_FOLLOW_SELF)


@blueprint.post("/unfollow/", defaults={"username": ""})
@blueprint.post("/unfollow/<path:username>")
@login_required_from(_profile_path)
async def unfollow(username: str) -> ResponseReturnValue:
    """Stop following a person."""
    return await _change_follow(service.unfollow, username, NOT_FOLLOWING, CANNOT_UNFOLLOW_SELF)


async def _change_follow(
    change: Callable[[int, str], Awaitable[str]], username: str, done: str, oneself: str
) -> ResponseReturnValue:
    """Follow or unfollow by `change`, flash the result, and go back to the page with the button."""
    form, me = await FollowForm.from_request(), await visitor()
    if not form.validate_on_submit():
        abort(400, BUTTON_EXPIRED)
    if not await form.count((FOLLOWS_PER_ACCOUNT, f"follow:{me.id}")):
        raise TooManyRequests(form.form_errors[0], retry_after=form.retry_after)
    username = _username(username)
    try:
        name = await change(me.id, username)
    except service.UserNotFoundError:
        await flash(NOT_FOUND % {"username": _printable(username)}, "danger")
        return redirect("/index")
    except service.SelfFollowError as error:
        await flash(oneself, "warning")
        return redirect(person_path("user", error.username))
    people.suggestions().forget(me.id)
    await flash(done % {"username": name})
    return redirect(safe_path(form.next.data) or person_path("user", name))


def _printable(username: str) -> str:
    """Return any name as printable text that is short enough for a cookie."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in username)
    return text if len(text) <= USERNAME_LENGTH else f"{text[:USERNAME_LENGTH]}…"


@avatars.get("/avatar/<name>.svg")
async def avatar(name: str) -> Response:
    """Draw an avatar: initials on a gradient whose colours come from the digest.

    It is cached, so the template gets no request context.
    """
    if not (drawing := DRAWING.fullmatch(name)):
        abort(404)
    digest, letters = drawing.groups(default="")
    template = current_app.jinja_env.get_template("profiles/avatar.svg")
    svg = await template.render_async(hue=int(digest[-4:], 16) % 360, letters=letters)
    return Response(svg, content_type="image/svg+xml", headers={"Cache-Control": FOREVER})
