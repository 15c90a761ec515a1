"""The pages that confirming links open. Only POST uses a link up: mail scanners follow links by GET."""

from __future__ import annotations

from quart import flash, redirect, render_template
from quart.typing import ResponseReturnValue

from app.accounts import credentials, registrations, service, tokens
from app.accounts.authentication import guests_only, visitor
from app.accounts.forms import EmptyForm
from app.web import limits
from app.web.blueprint import Blueprint

LINKS_PER_PEER = "60 per hour"

EMAIL_CHANGED = "Your email address has been changed."
CONFIRMED = "Congratulations, you are now a registered user!"
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
            await limits.count((LINKS_PER_PEER, f"change-email-link:{limits.peer()}"))
            await credentials.change_email(token, spared=me.session_id)
            await flash(EMAIL_CHANGED)
            return redirect(home)
    except tokens.InvalidToken:
        await flash(LINK_NOT_VALID)
        return redirect(home)
    page = await render_template(
        "accounts/confirm_email.html", title="Confirm Your Address", form=form, address=address
    )
    return page, form.status


@blueprint.route("/confirm/<token>", methods=["GET", "POST"])
@guests_only
async def confirm_registration(token: str) -> ResponseReturnValue:
    """Let the bearer of a good link finish a registration."""
    form = await EmptyForm.from_request()
    try:
        username = await registrations.check(token)
        if form.validate_on_submit():
            await limits.count((LINKS_PER_PEER, f"confirm-link:{limits.peer()}"))
            await registrations.confirm(token)
            await flash(CONFIRMED)
            return redirect("/login")
    except tokens.InvalidToken:
        await flash(LINK_NOT_VALID)
        return redirect("/login")
    except service.Taken:
        await flash(NAME_TAKEN)
        return redirect("/register")
    page = await render_template(
        "accounts/confirm_registration.html",
        title="Confirm Your Address",
        form=form,
        username=username,
    )
    return page, form.status
