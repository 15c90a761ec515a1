"""The pages on which people manage their own account."""

from __future__ import annotations

import contextlib

from quart import flash, redirect, render_template
from quart.typing import ResponseReturnValue

from app.accounts import devices, service, sessions, throttle
from app.accounts.auth import (
    browser_name,
    known_device,
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
    OwnerForm,
)
from app.web.csrf import BUTTON_EXPIRED_TRY_AGAIN
from app.web.forms import EmptyForm
from app.web.request_log import log_event
from app.web.templating import Blueprint

EMAIL_CHANGES = "10 per day"

SESSION_ENDED = "The session has been ended."
OTHERS_ENDED = "All other sessions have been ended, and all other browsers forgotten."
PASSWORD_CHANGED = "Your password has been changed. You are logged out everywhere else."  # noqa: S105
CHECK_NEW_ADDRESS = (
    "Check the inbox of your new address and follow the link there. Nothing changes until you do."
)
DELETED = "Your account has been deleted."

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@login_required
async def account() -> ResponseReturnValue:
    """Link to the pages below."""
    return await render_template("accounts/account.html", title="Account")


@blueprint.get("/sessions")
@login_required
async def list_sessions() -> ResponseReturnValue:
    """List where the account is logged in, and has been."""
    me = await visitor()
    return await render_template(
        "accounts/sessions.html",
        title="Sessions",
        sessions=await sessions.list_for(me.id, current=me.session_id),
        current=me.session_id,
        browsers=await devices.list_for(me.id, current=known_device()),
        describe=devices.describe,
    )


@blueprint.post("/sessions/end")
@login_required_from(lambda: "/sessions")
async def end_session() -> ResponseReturnValue:
    """End one of the account's sessions; ending this browser's is logging out."""
    form, me = await EndSessionForm.from_request(), await visitor()
    if not form.validate_on_submit():
        await flash(BUTTON_EXPIRED_TRY_AGAIN, "warning")
    elif (session_id := int(form.session.data or 0)) == me.session_id:
        await log_out()
        return redirect("/login")
    else:
        await sessions.end_one(me.id, session_id)
        await flash(SESSION_ENDED, "success")
    return redirect("/sessions")


@blueprint.post("/sessions/end_others")
@login_required_from(lambda: "/sessions")
async def end_other_sessions() -> ResponseReturnValue:
    """End all of the account's sessions except this browser's."""
    form, me = await EmptyForm.from_request(), await visitor()
    if form.validate_on_submit():
        await sessions.end_all(me.id, keep=me.session_id, device=known_device())
        await flash(OTHERS_ENDED, "success")
    else:
        await flash(BUTTON_EXPIRED_TRY_AGAIN, "warning")
    return redirect("/sessions")


@blueprint.route("/change_password", methods=["GET", "POST"])
@login_required
async def change_password() -> ResponseReturnValue:
    """Change the password; this browser gets a new session, all others end."""
    me = await visitor()
    form = await ChangePasswordForm.from_request(names=(me.username, me.email))
    if form.validate_on_submit() and await throttle.count_password(form, me.username):
        try:
            credentials = await service.change_password(
                me.id,
                current=form.current.data,
                new=form.password.data,
                device=browser_name(),
                keep_device=known_device(),
            )
        except service.WrongPassword:
            _refuse_password(form, me.id)
        else:
            log_event("password_changed", user=me.id)
            with contextlib.suppress(service.OutdatedCredentials):  # changed again: logged out
                await log_in(credentials, remember=me.remember)
            await flash(PASSWORD_CHANGED, "success")
            return redirect("/account")
    return await form.render("accounts/change_password.html", title="Change Password")


@blueprint.route("/change_email", methods=["GET", "POST"])
@login_required
async def change_email() -> ResponseReturnValue:
    """Send a confirmation link to a new address, with the same answer for every address."""
    me = await visitor()
    form = await ChangeEmailForm.from_request(present=me.email)
    if (
        form.validate_on_submit()
        and await throttle.count_password(form, me.username)
        and await form.count((EMAIL_CHANGES, f"change-email:{me.id}"))
    ):
        try:
            await service.request_email_change(
                me.id, form.email.data, current=form.current.data, device=browser_name()
            )
        except service.WrongPassword:
            _refuse_password(form, me.id)
        else:
            log_event("email_change_requested", user=me.id)
            await flash(CHECK_NEW_ADDRESS)
            return redirect("/account")
    return await form.render("accounts/change_email.html", title="Change Email")


@blueprint.route("/delete_account", methods=["GET", "POST"])
@login_required
async def delete_account() -> ResponseReturnValue:
    """Delete the account."""
    form, me = await DeleteAccountForm.from_request(), await visitor()
    if form.validate_on_submit() and await throttle.count_password(form, me.username):
        try:
            await service.delete_account(me.id, current=form.current.data)
        except service.WrongPassword:
            _refuse_password(form, me.id)
        else:
            log_event("account_deleted", user=me.id)
            await log_out()
            await flash(DELETED)
            return redirect("/login")
    return await form.render("accounts/delete_account.html", title="Delete Account")


def _refuse_password(form: OwnerForm, user_id: int) -> None:
    log_event("wrong_password", user=user_id)
    form.refuse_password()
