"""The forms of accounts, and their fields; names, labels and messages are those of the tutorials."""

from collections.abc import Sequence
from typing import Any

from quart import current_app
from wtforms import BooleanField, HiddenField, SubmitField, ValidationError
from wtforms.form import BaseForm
from wtforms.validators import DataRequired, Email, EqualTo, InputRequired, Regexp, StopValidation

from app.accounts.models import EMAIL_LENGTH, USERNAME_LENGTH
from app.accounts.names import MAX_NORMALIZED_LENGTH, canonical, is_reserved, normalize
from app.accounts.password_policy import weakness
from app.accounts.passwords import MAX_PASSWORD_LENGTH
from app.web.forms import REQUIRED, Bounded, EmailField, Form, PasswordField, StringField, storable
from app.web.languages import lazy_gettext, lazy_pgettext

USERNAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z"
USERNAME_RULE = lazy_gettext(
    "Use only letters (A to Z), digits, dots, dashes and underscores. Start with a letter or a digit."
)
ADDRESS_PATTERN = r"\S+@[^@\s]+\Z"
INVALID_ADDRESS = lazy_gettext("Invalid email address.")
LOCAL_PART_TOO_LONG = lazy_gettext("The part before the @ is too long: at most 64 characters.")
DIFFERENT_USERNAME = lazy_gettext("Please use a different username.")
DIFFERENT = {"username": DIFFERENT_USERNAME, "email": lazy_gettext("Please use a different email address.")}
SAME_ADDRESS = lazy_gettext("This is already your email address.")
PASSWORDS_DIFFER = lazy_gettext("The passwords do not match.")
SAME_PASSWORD = lazy_gettext("Your new password must be different from your current one.")
WRONG_PASSWORD = lazy_gettext("This is not your current password.")
TICK_TO_DELETE = lazy_gettext("Please tick this box to delete your account.")

MAX_LOCAL_PART_LENGTH = 64
"""Octets before the @ (RFC 5321 4.5.3.1.1)."""

MAX_CANONICAL_EMAIL_LENGTH = 200
"""Canonical addresses are part of the outbox's unique keys, which hold 255 characters."""


def _validate_length(form: BaseForm, field: PasswordField) -> None:
    Bounded(min=current_app.config["PASSWORD_MIN_LENGTH"], max=MAX_PASSWORD_LENGTH)(form, field)


def _validate_strength(form: BaseForm, field: "NewPasswordField") -> None:
    """Refuse passwords that are easy to guess."""
    names = [form[name].data or "" for name in ("username", "email") if name in form]
    if reason := weakness(field.data, *names, *field.names):
        raise ValidationError(reason)


def _validate_canonical_length(form: BaseForm, field: EmailField) -> None:
    """Refuse addresses whose canonical form is too long: one Arabic ligature becomes 18 letters."""
    if len(canonical(field.data)) > MAX_CANONICAL_EMAIL_LENGTH:
        raise StopValidation(INVALID_ADDRESS)


def _validate_local_part(form: BaseForm, field: EmailField) -> None:
    """Refuse local parts that mail servers refuse; `Email` accepts 65 letters."""
    if len(field.data.rpartition("@")[0].encode()) > MAX_LOCAL_PART_LENGTH:
        raise ValidationError(LOCAL_PART_TOO_LONG)


def _email_field(rule: Email | Regexp, *more: Any) -> EmailField:
    validators = [DataRequired(REQUIRED), Bounded(max=EMAIL_LENGTH), storable, rule]
    validators += [_validate_canonical_length, *more]
    return EmailField(lazy_gettext("Email"), validators, filters=[lambda value: value and value.strip()])


def new_email_field() -> EmailField:
    """Return the field for an address that an account will use."""
    return _email_field(Email(INVALID_ADDRESS), _validate_local_part)


def _validate_unreserved(form: BaseForm, field: "UsernameField") -> None:
    if is_reserved(field.data) and not field.allows_reserved:
        raise ValidationError(DIFFERENT_USERNAME)


class UsernameField(StringField):
    """A new name of an account: after NFKC 1 to 64 ASCII letters, digits, `_ . -`.

    Only operators may choose a reserved name.
    """

    allows_reserved = False

    def __init__(self, label: str = lazy_gettext("Username"), **kwargs: Any) -> None:
        rule = Regexp(USERNAME_PATTERN, message=USERNAME_RULE)
        validators = [
            DataRequired(REQUIRED),
            Bounded(max=USERNAME_LENGTH),
            storable,
            rule,
            _validate_unreserved,
        ]
        super().__init__(label, validators, [lambda value: value and normalize(value)], **kwargs)


class NewPasswordField(PasswordField):
    """A new password. `names`: the account's name and address, if the form has no such fields."""

    names: Sequence[str] = ()

    def __init__(self, label: str = lazy_gettext("Password"), **kwargs: Any) -> None:
        validators = [InputRequired(REQUIRED), _validate_length, _validate_strength]
        super().__init__(label, validators, **kwargs)


def repeated_password_field(label: str = lazy_gettext("Repeat Password")) -> PasswordField:
    """Return the field in which the new password is repeated."""
    return PasswordField(label, [InputRequired(REQUIRED), EqualTo("password", PASSWORDS_DIFFER)])


def known_password_field(label: str = lazy_gettext("Current Password")) -> PasswordField:
    """Return the field for the account's present password."""
    return PasswordField(label, [InputRequired(REQUIRED), Bounded(max=MAX_PASSWORD_LENGTH)])


class LoginForm(Form):
    """Sign In. The name is not normalized: in old databases names may differ only by their form."""

    username = StringField(
        lazy_gettext("Username"), [InputRequired(REQUIRED), Bounded(max=MAX_NORMALIZED_LENGTH), storable]
    )
    password = known_password_field(lazy_gettext("Password"))
    remember_me = BooleanField(lazy_gettext("Remember Me"))
    submit = SubmitField(lazy_pgettext("button", "Sign In"))


class RegistrationForm(Form):
    """Register."""

    username = UsernameField()
    email = new_email_field()
    password = NewPasswordField()
    password2 = repeated_password_field()
    submit = SubmitField(lazy_pgettext("button", "Register"))


class ResetPasswordRequestForm(Form):
    """Request a reset link, also for the address of an old account that today's rules refuse."""

    email = _email_field(Regexp(ADDRESS_PATTERN, message=INVALID_ADDRESS))
    submit = SubmitField(lazy_gettext("Request Password Reset"))


class ResetPasswordForm(Form):
    """Choose a new password after following a reset link."""

    password = NewPasswordField()
    password2 = repeated_password_field()
    submit = SubmitField(lazy_pgettext("button", "Reset Password"))


class OwnerForm(Form):
    """A form for changes that a stolen session must not allow: confirmed with the current password."""

    current: PasswordField


class ChangePasswordForm(OwnerForm):
    """Choose another password."""

    current = known_password_field()
    password = NewPasswordField(lazy_gettext("New Password"))
    password2 = repeated_password_field(lazy_gettext("Repeat New Password"))
    submit = SubmitField(lazy_pgettext("button", "Change Password"))

    def validate_password(self, field: NewPasswordField) -> None:
        """Refuse the current password as the new one."""
        if field.data == self.current.data:
            raise ValidationError(SAME_PASSWORD)


class ChangeEmailForm(OwnerForm):
    """Choose another address. `present`: the current one."""

    present = ""
    email = new_email_field()
    current = known_password_field()
    submit = SubmitField(lazy_gettext("Send Confirmation"))

    def validate_email(self, field: EmailField) -> None:
        """Refuse the current address as the new one."""
        if field.data == self.present:
            raise ValidationError(SAME_ADDRESS)


class DeleteAccountForm(OwnerForm):
    """Delete the account."""

    sure = BooleanField(
        lazy_gettext("Delete my account and everything I wrote"), [InputRequired(TICK_TO_DELETE)]
    )
    current = known_password_field()
    submit = SubmitField(lazy_gettext("Delete My Account"))


class LanguageForm(Form):
    """The buttons in the footer."""

    language = StringField()
    next = StringField()


class EndSessionForm(Form):
    """The button that ends one session; its template writes the session's id."""

    session = HiddenField(validators=[InputRequired(), Regexp(r"[1-9][0-9]{0,8}\Z")])
    submit = SubmitField(lazy_gettext("End"))
