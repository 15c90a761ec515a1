"""The pages that confirming links open. Only POST uses a link up: mail scanners follow links by GET."""

from __future__ import annotations

from quart import flash, redirect, render_template
from quart.typing import ResponseReturnValue

from app.accounts import credentials, registrations, service, throttle, tokens
from app.accounts.auth import browser_name, visitor
from app.web.forms import EmptyForm
from app.web.request_log import log_event
from app.web.templating import Blueprint

REGISTERED = "Congratulations, you are now a registered user!"
EMAIL_CHANGED = "Your email address has been changed."
LINK_NOT_VALID = "That link is not valid any more."
NAME_TAKEN = "Somebody else has taken that name or address meanwhile. Please register again."

blueprint = Blueprint("links", __name__)


@blueprint.route("/change_email/<token>", methods=["GET", "POST"])
async def confirm_email_change(token: str) -> ResponseReturnValue:
    """Let the bearer of a good link make a new address the account's own."""
    form, me = await EmptyForm.from_request(), await visitor()
    home = "/account" if me.is_authenticated else "/login"
    try:
        address = await credentials.check_email_change(token)
        if form.validate_on_submit():
            await throttle.count_link("change-email")
            user_id = await credentials.change_email(
                token, spared=me.session_id, device=browser_name()
            )
            log_event("email_changed", user=user_id)
            await flash(EMAIL_CHANGED, "success")
            return redirect(home)
    except tokens.InvalidToken:
        log_event("email_link_refused")
        await flash(LINK_NOT_VALID, "warning")
        return redirect(home)
    page = await render_template(
        "accounts/confirm_email.html", title="Confirm Your Address", form=form, address=address
    )
    return page, form.status


@blueprint.route("/confirm/<token>", methods=["GET", "POST"])
async def confirm_registration(token: str) -> ResponseReturnValue:
    """Let the bearer of a good link finish a registration."""
    form, me = await EmptyForm.from_request(), await visitor()
    home = "/index" if me.is_authenticated else "/login"
    try:
        username = await registrations.check(token)
        if form.validate_on_submit():
            await throttle.count_link("confirm")
            log_event("registered", user=await registrations.confirm(token))
            await flash(REGISTERED, "success")
            return redirect(home)
    except tokens.InvalidToken:
        log_event("registration_link_refused")
        await flash(LINK_NOT_VALID, "warning")
        return redirect(home)
    except service.Taken:
        await flash(NAME_TAKEN, "warning")
        return redirect("/register")
    page = await render_template(
        "accounts/confirm_registration.html",
        title="Confirm Your Address",
        form=form,
        username=username,
    )
    return page, form.status
