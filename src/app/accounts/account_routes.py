"""The pages on which people manage their own account."""

from quart import redirect, render_template
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
from app.accounts.browsers import describe, localized
from app.accounts.forms import (
    WRONG_PASSWORD,
    ChangeEmailForm,
    ChangePasswordForm,
    DeleteAccountForm,
    EndSessionForm,
    OwnerForm,
)
from app.accounts.sessions import Visitor
from app.web.csrf import BUTTON_EXPIRED_TRY_AGAIN
from app.web.forms import EmptyForm, add_error
from app.web.languages import lazy_gettext
from app.web.request_log import log_event
from app.web.templating import Blueprint, flash

EMAIL_CHANGES = "10 per day"

SESSION_ENDED = lazy_gettext("The session has been ended.")
OTHERS_ENDED = lazy_gettext("All other sessions have been ended, and all other browsers forgotten.")
PASSWORD_CHANGED = lazy_gettext("Your password has been changed. You are logged out everywhere else.")
CHECK_NEW_ADDRESS = lazy_gettext(
    "Check the inbox of your new address and follow the link there. Nothing changes until you do."
)
DELETED = lazy_gettext("Your account has been deleted.")

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@login_required
async def account() -> ResponseReturnValue:
    """Link to the pages below."""
    return await render_template("accounts/account.html", title=lazy_gettext("Account"))


@blueprint.get("/sessions")
@login_required
async def list_sessions() -> ResponseReturnValue:
    """List where the account is logged in, and has been."""
    me = await visitor()
    return await render_template(
        "accounts/sessions.html",
        title=lazy_gettext("Sessions"),
        sessions=await sessions.list_for(me.id, current=me.session_id),
        current=me.session_id,
        browsers=await devices.list_for(me.id, current=known_device()),
        describe=lambda user_agent: localized(describe(user_agent)),
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
        await sessions.end_all(me.id, keep_session=me.session_id, keep_device=known_device())
        await flash(OTHERS_ENDED, "success")
    else:
        await flash(BUTTON_EXPIRED_TRY_AGAIN, "warning")
    return redirect("/sessions")


@blueprint.route("/change_password", methods=["GET", "POST"])
@login_required
async def change_password() -> ResponseReturnValue:
    """Change the password; this browser gets a new session, all others end."""
    form, me = await ChangePasswordForm.from_request(), await visitor()
    form.password.names = (me.username, me.email)
    if credentials := await _confirm(form, me):
        credentials = await service.change_password(
            credentials, form.password.data, device=browser_name(), keep_device=known_device()
        )
        log_event("password_changed", user=me.id)
        await log_in(credentials, remember=me.remember)
        await flash(PASSWORD_CHANGED, "success")
        return redirect("/account")
    return await form.render("accounts/change_password.html", title=lazy_gettext("Change Password"))


@blueprint.route("/change_email", methods=["GET", "POST"])
@login_required
async def change_email() -> ResponseReturnValue:
    """Send a confirmation link to a new address, with the same answer for every address."""
    form, me = await ChangeEmailForm.from_request(), await visitor()
    form.present = me.email
    limit = (EMAIL_CHANGES, f"change-email:{me.id}")
    if (credentials := await _confirm(form, me)) and await form.count(limit):
        await service.request_email_change(credentials, form.email.data, device=browser_name())
        log_event("email_change_requested", user=me.id)
        await flash(CHECK_NEW_ADDRESS)
        return redirect("/account")
    return await form.render("accounts/change_email.html", title=lazy_gettext("Change Email"))


@blueprint.route("/delete_account", methods=["GET", "POST"])
@login_required
async def delete_account() -> ResponseReturnValue:
    """Delete the account."""
    form, me = await DeleteAccountForm.from_request(), await visitor()
    if credentials := await _confirm(form, me):
        await service.delete_account(credentials)
        log_event("account_deleted", user=me.id)
        await log_out()
        await flash(DELETED)
        return redirect("/login")
    return await form.render("accounts/delete_account.html", title=lazy_gettext("Delete Account"))


@blueprint.errorhandler(service.OutdatedCredentials)
async def changed_meanwhile(error: service.OutdatedCredentials) -> ResponseReturnValue:
    """Redirect to the login page: while a password was being hashed, this session ended, as by a reset."""
    return redirect("/account")


async def _confirm(form: OwnerForm, me: Visitor) -> service.VerifiedCredentials | None:
    """Return the account's credentials if the form is submitted with its password; else the form says why."""
    if form.validate_on_submit() and await throttle.count_password(form, me.username):
        try:
            return await service.check_password(me.id, form.current.data)
        except service.WrongPassword:
            log_event("wrong_password", user=me.id)
            add_error(form.current, WRONG_PASSWORD)
    return None
