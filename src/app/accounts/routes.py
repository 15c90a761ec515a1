"""The pages of accounts."""

from __future__ import annotations

from quart import current_app, flash, redirect, render_template, request
from quart.typing import ResponseReturnValue

from app.accounts import credentials, registrations, service, throttle, tokens
from app.accounts.auth import browser_name, guests_only, known_device, log_in, log_out, visitor
from app.accounts.forms import (
    LoginForm,
    RegistrationForm,
    ResetPasswordForm,
    ResetPasswordRequestForm,
)
from app.accounts.links import REGISTERED
from app.accounts.proof import NotProved
from app.web import limits
from app.web.forms import EmptyForm
from app.web.request_log import log_event
from app.web.security import client_address, safe_path
from app.web.templating import Blueprint

REGISTRATIONS_PER_PEER = "60 per hour"
RESETS_PER_PEER = "30 per hour"

INVALID_LOGIN = "Invalid username or password"
CONFIRM_FIRST = "Check your email: follow the link there to finish your registration."
CHECK_EMAIL = "Check your email for the instructions to reset your password"
RESET_DONE = "Your password has been reset."
LINK_NOT_VALID = "That reset link is not valid any more. Please ask for a new one."

ASK_HERE = "/reset_password_request"
ASK_AGAIN = f"{ASK_HERE}?again=1"

blueprint = Blueprint("accounts", __name__)


@blueprint.route("/login", methods=["GET", "POST"])
@guests_only
async def login() -> ResponseReturnValue:
    """Log somebody in, and bring them where they wanted to go."""
    form = await LoginForm.from_request()
    target = safe_path(request.args.get("next"))
    if form.validate_on_submit():
        counted = await throttle.count_login(form.username.data, known_device())
        try:
            proved = await service.authenticate(form.username.data, form.password.data)
            await log_in(proved, remember=form.remember_me.data)
        except NotProved as error:
            log_event("login_failed", user=error.user_id)
            await flash(INVALID_LOGIN, "danger")
        else:
            log_event("login", user=proved.user_id)
            await limits.clear(*counted)
            return redirect(target or "/index")
    page = await render_template("accounts/login.html", title="Sign In", form=form, next=target)
    return page, form.status


@blueprint.route("/logout", methods=["GET", "POST"])
async def logout() -> ResponseReturnValue:
    """End this browser's session."""
    form = await EmptyForm.from_request()
    if form.validate_on_submit():
        await log_out()
        return redirect("/login")
    page = await render_template("accounts/logout.html", title="Log Out", form=form)
    return page, form.status


@blueprint.route("/register", methods=["GET", "POST"])
@guests_only
async def register() -> ResponseReturnValue:
    """Make an account."""
    form = await RegistrationForm.from_request()
    if form.validate_on_submit():
        await limits.count((REGISTRATIONS_PER_PEER, f"register:{client_address()}"))
        confirming = current_app.config["CONFIRM_EMAIL"]
        register_ = registrations.request if confirming else service.register
        try:
            user_id = await register_(
                username=form.username.data, email=form.email.data, password=form.password.data
            )
        except service.Taken as error:
            form.refuse_taken(error.fields)
        else:
            log_event("registration_asked" if confirming else "registered", user=user_id)
            await flash(CONFIRM_FIRST if confirming else REGISTERED, "success")
            return redirect("/login")
    page = await render_template("accounts/register.html", title="Register", form=form)
    return page, form.status


@blueprint.route(ASK_HERE, methods=["GET", "POST"])
async def reset_password_request() -> ResponseReturnValue:
    """Take a request for a reset link: one answer for every address.

    For guests, and for whoever is logged in but has just followed a link that is over.
    """
    again = "again" in request.args
    if not again and (await visitor()).is_authenticated:
        return redirect("/index")
    form = await ResetPasswordRequestForm.from_request()
    if form.validate_on_submit():
        await limits.count((RESETS_PER_PEER, f"reset:{client_address()}"))
        await credentials.request_reset(form.email.data)
        log_event("reset_asked")
        await flash(CHECK_EMAIL)
        return redirect("/login")
    page = await render_template(
        "accounts/reset_password_request.html",
        title="Reset Password",
        form=form,
        action=ASK_AGAIN if again else ASK_HERE,
    )
    return page, form.status


@blueprint.route("/reset_password/<token>", methods=["GET", "POST"])
async def reset_password(token: str) -> ResponseReturnValue:
    """Let the bearer of a good link choose a new password; only POST uses the link up."""
    try:
        owner = await credentials.check_reset(token)
        form = await ResetPasswordForm.from_request(names=(owner.username, owner.email))
        if form.validate_on_submit():
            await throttle.count_link("reset")
            user_id = await credentials.reset_password(
                token, form.password.data, device=browser_name()
            )
            log_event("password_reset", user=user_id)
            await flash(RESET_DONE, "success")
            return redirect("/login")
    except tokens.InvalidToken:
        log_event("reset_link_refused")
        await flash(LINK_NOT_VALID, "warning")
        is_guest = not (await visitor()).is_authenticated
        return redirect(ASK_HERE if is_guest else ASK_AGAIN)
    page = await render_template(
        "accounts/reset_password.html",
        title="Reset Your Password",
        form=form,
        username=owner.username,
    )
    return page, form.status
