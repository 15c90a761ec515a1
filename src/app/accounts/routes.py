"""The pages on which people register, log in and out, and follow the links in their mails.

Only POST uses up a link, because mail scanners follow links by GET.
"""

from functools import partial
from urllib.parse import quote, urlencode

from quart import current_app, redirect, request, session, url_for
from quart.typing import ResponseReturnValue

from app.accounts import service, throttle, tokens
from app.accounts.auth import browser_name, guests_only, log_in, log_out, visitor
from app.accounts.forms import (
    DIFFERENT,
    LanguageForm,
    LoginForm,
    RegistrationForm,
    ResetPasswordForm,
    ResetPasswordRequestForm,
)
from app.web import languages, limits
from app.web.forms import EmptyForm, add_error
from app.web.languages import lazy_gettext
from app.web.request_log import log_event
from app.web.security import current_peer, safe_path
from app.web.templating import Blueprint, flash

REGISTRATIONS_PER_PEER = "60 per hour"
RESETS_PER_PEER = "30 per hour"
LINKS_PER_PEER = "60 per hour"

INVALID_LOGIN = lazy_gettext("Invalid username or password")
REGISTERED = lazy_gettext("Congratulations, you are now a registered user!")
CONFIRM_FIRST = lazy_gettext("Check your email and follow the link to finish your registration.")
NOT_CONFIRMED = lazy_gettext("Please confirm your email address first. We have sent the link again.")
CHECK_EMAIL = lazy_gettext("Check your email for the instructions to reset your password")
LINK_ON_ITS_WAY = lazy_gettext(
    "If an account uses this address, a link is on its way. You can ask for another one in a minute."
)
RESET_DONE = lazy_gettext("Your password has been reset.")
RESET_LINK_NOT_VALID = lazy_gettext("That reset link is not valid any more. Please ask for a new one.")
LINK_NOT_VALID = lazy_gettext("That link is no longer valid.")
EMAIL_CHANGED = lazy_gettext("Your email address is now %(email)s.")
NAME_TAKEN = lazy_gettext(
    "Someone else has taken that username or email address in the meantime. Please register again."
)

NEXT_KEY = "next"
"""The session's key for the page that a newcomer wanted to open, until the address is confirmed."""

REQUEST_PATH = "/reset_password_request"
REQUEST_AGAIN_PATH = f"{REQUEST_PATH}?again=1"

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/login", methods=["GET", "POST"])
@guests_only
async def login() -> ResponseReturnValue:
    """Log a guest in, and go to the page they came for."""
    form, target = await LoginForm.from_request(), safe_path(request.args.get("next"))
    username = await service.login_name(form.username.data) if form.validate_on_submit() else ""
    if username and (counted := await throttle.count_password(form, username)):
        try:
            credentials = await service.authenticate(username, form.password.data)
            await log_in(credentials, remember=form.remember_me.data)
        except service.NotConfirmed:
            log_event("login_not_confirmed")
            await flash(NOT_CONFIRMED, "warning")
        except service.WrongPassword as error:
            log_event("login_failed", user=error.user_id)
            await flash(INVALID_LOGIN, "danger")
        else:
            log_event("login", user=credentials.user_id)
            await limits.clear(*counted)
            return redirect(target or "/index")
    return await form.render("accounts/login.html", title=lazy_gettext("Sign In"), next=target)


@blueprint.route("/auth/<any(login, logout, register, reset_password_request):page>", methods=["GET", "POST"])
@blueprint.route("/auth/<any(reset_password):page>/<token>", methods=["GET", "POST"])
async def moved(page: str, token: str = "") -> ResponseReturnValue:
    """Redirect the addresses of Microblog v0.15 to v0.23."""
    path = f"/{page}/{quote(token, safe='', errors='replace')}" if token else f"/{page}"
    query = urlencode(list(request.args.items(multi=True)), errors="replace")
    return redirect(f"{path}?{query}" if query else path, 308)


@blueprint.route("/logout", methods=["GET", "POST"])
async def logout() -> ResponseReturnValue:
    """End this browser's session. If it has ended, as after a logout in another tab, any token will do."""
    form, me = await EmptyForm.from_request(), await visitor()
    if request.method == "POST" and not me.is_authenticated:
        return redirect("/login")
    if form.validate_on_submit():
        await log_out()
        return redirect("/login")
    return await form.render("accounts/logout.html", title=lazy_gettext("Log Out"))


@blueprint.route("/register", methods=["GET", "POST"])
@guests_only
async def register() -> ResponseReturnValue:
    """Create an account, or with CONFIRM_EMAIL a registration that waits for its link."""
    form, target = await RegistrationForm.from_request(), safe_path(request.args.get("next"))
    limit = (REGISTRATIONS_PER_PEER, f"register:{current_peer()}")
    if form.validate_on_submit() and await form.count(limit):
        confirm = current_app.config["CONFIRM_EMAIL"]
        language = languages.current().code
        action = service.request_registration if confirm else partial(service.register, language=language)
        try:
            user_id = await action(
                username=form.username.data, email=form.email.data, password=form.password.data
            )
        except service.Taken as error:
            for name in error.fields:
                add_error(form[name], DIFFERENT[name])
        else:
            log_event("registration_requested" if confirm else "registered", user=user_id)
            if confirm and target:
                session[NEXT_KEY] = target
            await flash(CONFIRM_FIRST if confirm else REGISTERED, "success")
            return redirect(url_for("accounts.login", next=target))
    return await form.render("accounts/register.html", title=lazy_gettext("Register"), next=target)


@blueprint.route("/confirm/<token>", methods=["GET", "POST"])
async def confirm_registration(token: str) -> ResponseReturnValue:
    """Create the account of a registration whose link was followed."""
    form, me = await EmptyForm.from_request(), await visitor()
    home = "/index" if me.is_authenticated else "/login"
    try:
        username = await service.check_registration(token)
        if form.validate_on_submit() and await form.count(_link_limit()):
            user_id = await service.confirm_registration(token, language=languages.current().code)
            log_event("registered", user=user_id)
            target = session.pop(NEXT_KEY, None)
            await flash(REGISTERED, "success")
            return redirect(home if me.is_authenticated else url_for("accounts.login", next=target))
    except tokens.InvalidToken:
        return await _refuse_link("registration_link_refused", home)
    except service.Taken:
        await flash(NAME_TAKEN, "warning")
        return redirect("/register")
    return await form.render(
        "accounts/confirm_registration.html", title=lazy_gettext("Confirm Your Address"), username=username
    )


@blueprint.route(REQUEST_PATH, methods=["GET", "POST"])
async def reset_password_request() -> ResponseReturnValue:
    """Accept a request for a reset link, with the same answer for every address.

    For guests, and for logged-in visitors whose reset link was not valid.
    """
    again, me = "again" in request.args, await visitor()
    if me.is_authenticated and not again:
        return redirect("/index")
    form = await ResetPasswordRequestForm.from_request()
    if form.validate_on_submit() and await form.count((RESETS_PER_PEER, f"reset:{current_peer()}")):
        await service.request_reset(form.email.data)
        log_event("reset_requested")
        await flash(CHECK_EMAIL)
        await flash(LINK_ON_ITS_WAY)
        return redirect("/login")
    return await form.render(
        "accounts/reset_password_request.html",
        title=lazy_gettext("Reset Password"),
        action=REQUEST_AGAIN_PATH if again else REQUEST_PATH,
    )


@blueprint.route("/reset_password/<token>", methods=["GET", "POST"])
async def reset_password(token: str) -> ResponseReturnValue:
    """Let a visitor with a valid reset link choose a new password."""
    is_guest = not (await visitor()).is_authenticated
    try:
        user = await service.check_reset(token)
        form = await ResetPasswordForm.from_request()
        form.password.names = (user.username, user.email)
        if form.validate_on_submit() and await form.count(_link_limit()):
            user_id = await service.reset_password(token, form.password.data, device=browser_name())
            log_event("password_reset", user=user_id)
            await flash(RESET_DONE, "success")
            return redirect("/login")
    except tokens.InvalidToken:
        path = REQUEST_PATH if is_guest else REQUEST_AGAIN_PATH
        return await _refuse_link("reset_link_refused", path, RESET_LINK_NOT_VALID)
    return await form.render(
        "accounts/reset_password.html", title=lazy_gettext("Reset Your Password"), username=user.username
    )


@blueprint.route("/change_email/<token>", methods=["GET", "POST"])
async def confirm_email_change(token: str) -> ResponseReturnValue:
    """Set a new address whose confirmation link was followed."""
    form, me = await EmptyForm.from_request(), await visitor()
    home = "/account" if me.is_authenticated else "/login"
    try:
        address = await service.check_email_change(token)
        if form.validate_on_submit() and await form.count(_link_limit()):
            user_id = await service.change_email(token, keep_session=me.session_id, device=browser_name())
            log_event("email_changed", user=user_id)
            await flash(EMAIL_CHANGED % {"email": address}, "success")
            return redirect(home)
    except tokens.InvalidToken:
        return await _refuse_link("email_link_refused", home)
    return await form.render(
        "accounts/confirm_email.html", title=lazy_gettext("Confirm Your Address"), address=address
    )


@blueprint.post("/language")
async def choose_language() -> ResponseReturnValue:
    """Show the site in another language from now on, and go back to the page with the button."""
    form, me = await LanguageForm.from_request(), await visitor()
    response = redirect(safe_path(form.next.data) or "/")
    if form.validate_on_submit() and form.language.data in current_app.config["LANGUAGES"]:
        languages.remember(response, form.language.data)
        if me.is_authenticated:
            await service.set_language(me.id, form.language.data)
    return response


def _link_limit() -> limits.Limit:
    return LINKS_PER_PEER, f"link:{current_peer()}"


async def _refuse_link(event: str, path: str, message: str = LINK_NOT_VALID) -> ResponseReturnValue:
    log_event(event)
    await flash(message, "warning")
    return redirect(path)
