"""The pages on which people look after their own account."""

from __future__ import annotations

import contextlib

from quart import flash, redirect, render_template
from quart.typing import ResponseReturnValue

from app.accounts import browsers, credentials, departure, sessions, throttle
from app.accounts.auth import (
    browser_name,
    log_in,
    log_out,
    login_required,
    login_required_from,
    visitor,
)
from app.accounts.forms import (
    ChangeEmailForm,
    ChangePasswordForm,
    DeleteAccountForm,
    EndSessionForm,
)
from app.accounts.proof import Outdated
from app.accounts.sessions import Visitor
from app.web import limits
from app.web.csrf import BUTTON_EXPIRED_TRY_AGAIN
from app.web.forms import EmptyForm
from app.web.request_log import log_event
from app.web.templating import Blueprint

ADDRESS_CHANGES = "10 per day"

SESSION_ENDED = "That session has ended."
OTHERS_ENDED = "All other sessions have ended."
PASSWORD_CHANGED = "Your password has been changed. You are logged out everywhere else."  # noqa: S105
EMAIL_ASKED = (
    "Check the inbox of the new address: nothing changes before you follow the link we sent there."
)
DELETED = "Your account has been deleted."

blueprint = Blueprint("owner", __name__)


@blueprint.get("/account")
@login_required
async def account() -> ResponseReturnValue:
    """Show what can be done about one's account."""
    return await render_template("accounts/account.html", title="Your Account")


@blueprint.get("/sessions")
@login_required
async def list_sessions() -> ResponseReturnValue:
    """Show where the account is logged in."""
    me = await visitor()
    return await render_template(
        "accounts/sessions.html",
        title="Your Sessions",
        sessions=await sessions.of_account(me.id, current=me.session_id),
        current=me.session_id,
        describe=browsers.describe,
    )


@blueprint.post("/sessions/end")
@login_required_from(lambda: "/sessions")
async def end_session() -> ResponseReturnValue:
    """End one session of one's own; ending this browser's is logging out."""
    form, me = await EndSessionForm.from_request(), await visitor()
    if not form.validate_on_submit():
        await flash(BUTTON_EXPIRED_TRY_AGAIN, "warning")
    elif form.session.number == me.session_id:
        await log_out()
        return redirect("/login")
    else:
        await sessions.end_one(me.id, form.session.number)
        await flash(SESSION_ENDED, "success")
    return redirect("/sessions")


@blueprint.post("/sessions/end_others")
@login_required_from(lambda: "/sessions")
async def end_other_sessions() -> ResponseReturnValue:
    """End every session of one's own but this browser's."""
    form, me = await EmptyForm.from_request(), await visitor()
    if form.validate_on_submit():
        await sessions.end_others(me.id, spared=me.session_id)
        await flash(OTHERS_ENDED, "success")
    else:
        await flash(BUTTON_EXPIRED_TRY_AGAIN, "warning")
    return redirect("/sessions")


@blueprint.route("/change_password", methods=["GET", "POST"])
@login_required
async def change_password() -> ResponseReturnValue:
    """Change the password, given the current one; this browser gets a new session, all others end."""
    me = await visitor()
    form = await ChangePasswordForm.from_request(names=(me.username, me.email))
    if form.validate_on_submit():
        await throttle.count_confirmation(me.id)
        try:
            proved = await credentials.change_password(
                me.id, current=form.current.data, new=form.password.data, device=browser_name()
            )
        except credentials.WrongPassword:
            _wrong_password(form, me)
        else:
            log_event("password_changed", user=me.id)
            with contextlib.suppress(Outdated):  # changed once more meanwhile: logged out
                await log_in(proved, remember=me.remember)
            await flash(PASSWORD_CHANGED, "success")
            return redirect("/account")
    page = await render_template(
        "accounts/change_password.html", title="Change Password", form=form
    )
    return page, form.status


@blueprint.route("/change_email", methods=["GET", "POST"])
@login_required
async def change_email() -> ResponseReturnValue:
    """Ask a new address to confirm itself, given the current password: one answer for every address."""
    me = await visitor()
    form = await ChangeEmailForm.from_request(present=me.email)
    if form.validate_on_submit():
        await throttle.count_confirmation(me.id)
        await limits.count((ADDRESS_CHANGES, f"change-email:{me.id}"))
        try:
            await credentials.request_email_change(
                me.id, form.email.data, current=form.current.data, device=browser_name()
            )
        except credentials.WrongPassword:
            _wrong_password(form, me)
        else:
            log_event("email_change_asked", user=me.id)
            await flash(EMAIL_ASKED)
            return redirect("/account")
    page = await render_template("accounts/change_email.html", title="Change Email", form=form)
    return page, form.status


@blueprint.route("/delete_account", methods=["GET", "POST"])
@login_required
async def delete_account() -> ResponseReturnValue:
    """Delete one's account, given the current password and a tick."""
    form, me = await DeleteAccountForm.from_request(), await visitor()
    if form.validate_on_submit():
        await throttle.count_confirmation(me.id)
        try:
            await departure.delete_account(me.id, current=form.current.data)
        except credentials.WrongPassword:
            _wrong_password(form, me)
        else:
            log_event("account_deleted", user=me.id)
            await log_out()
            await flash(DELETED)
            return redirect("/login")
    page = await render_template("accounts/delete_account.html", title="Delete Account", form=form)
    return page, form.status


def _wrong_password(
    form: ChangePasswordForm | ChangeEmailForm | DeleteAccountForm, me: Visitor
) -> None:
    log_event("wrong_password", user=me.id)
    form.refuse_password()
