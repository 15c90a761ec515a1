"""The forms of accounts; labels, field names and messages are those of the tutorials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quart import current_app
from wtforms import BooleanField, HiddenField, SubmitField, ValidationError
from wtforms.form import BaseForm
from wtforms.validators import DataRequired, Email, EqualTo, InputRequired, Regexp

from app.accounts.canonical import LONGEST_FOLDED, canonical, normalise
from app.accounts.common_passwords import is_common, is_one_of
from app.accounts.models import EMAIL_LENGTH, USERNAME_LENGTH
from app.accounts.passwords import LONGEST_PASSWORD
from app.web.fields import EmailField, PasswordField, StringField
from app.web.forms import REQUIRED, Bounded, Form, storable

USERNAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z"
USERNAME_RULE = "Use only letters A to Z, digits, _ . and -, starting with a letter or digit."
PLAIN_ADDRESS = r"\S+@[^@\s]+\Z"
INVALID_ADDRESS = "Invalid email address."
DIFFERENT_USERNAME = "Please use a different username."
DIFFERENT_EMAIL = "Please use a different email address."
TOO_COMMON = "Many people use this password, so it is tried first. Please choose another one."
TOO_TELLING = "Please choose a password that is not your name or address."
NOT_CURRENT = "This is not your current password."
TICK_TO_DELETE = "Please tick this, if you are sure."
LONGEST_KEY = 200
"""Keys are made of folded addresses, and hold 255 characters."""


def _strip(value: str | None) -> str | None:
    return value and value.strip()


def _normalise(value: str | None) -> str | None:
    """Return a name in NFKC, so that full-width letters are the letters they look like."""
    return value and normalise(value)


def _long_enough(form: BaseForm, field: PasswordField) -> None:
    Bounded(min=current_app.config["PASSWORD_MIN_LENGTH"], max=LONGEST_PASSWORD)(form, field)


def _uncommon(form: BaseForm, field: NewPasswordField) -> None:
    """Refuse passwords that others use, or that say what everybody knows of this account."""
    if is_common(field.data):
        raise ValidationError(TOO_COMMON)
    known = [form[name].data or "" for name in ("username", "email") if name in form]
    if is_one_of(field.data, *known, *field.known):
        raise ValidationError(TOO_TELLING)


def _foldable(form: BaseForm, field: EmailField) -> None:
    """Refuse what grows too long when it is folded: one Arabic ligature becomes 18 letters."""
    if len(canonical(field.data)) > LONGEST_KEY:
        raise ValidationError(INVALID_ADDRESS)


def _address(rule: Email | Regexp) -> EmailField:
    """Return the field of an address that `rule` accepts: one of today for what is new."""
    return EmailField(
        "Email",
        [DataRequired(REQUIRED), Bounded(max=EMAIL_LENGTH), storable, rule, _foldable],
        filters=[_strip],
    )


class NewPasswordField(PasswordField):
    """A password that somebody chooses; `known`: what else it must not be, whatever the case."""

    known: Sequence[str] = ()

    def __init__(self, label: str = "Password", **kwargs: Any) -> None:
        super().__init__(label, [InputRequired(REQUIRED), _long_enough, _uncommon], **kwargs)


class RepeatedPasswordField(PasswordField):
    """The same password once more."""

    def __init__(self, label: str = "Repeat Password", **kwargs: Any) -> None:
        super().__init__(label, [InputRequired(REQUIRED), EqualTo("password")], **kwargs)


class CurrentPasswordField(PasswordField):
    """The password that the account has, asked for again before what a thief of a session must not do."""

    def __init__(self, label: str = "Current Password", **kwargs: Any) -> None:
        super().__init__(label, [InputRequired(REQUIRED), Bounded(max=LONGEST_PASSWORD)], **kwargs)

    def refuse(self) -> None:
        """Say that it is not the right one."""
        self.errors = [*self.errors, NOT_CURRENT]


class UsernameField(StringField):
    """The name of an account: after NFKC 1 to 64 of ASCII letters, digits, `_ . -`."""

    def __init__(self, label: str = "Username", **kwargs: Any) -> None:
        super().__init__(
            label,
            [
                DataRequired(REQUIRED),
                Bounded(max=USERNAME_LENGTH),
                storable,
                Regexp(USERNAME_PATTERN, message=USERNAME_RULE),
            ],
            filters=[_normalise],
            **kwargs,
        )


class LoginForm(Form):
    """Sign In; the name stays as typed, since old databases hold names that differ only when not folded."""

    username = StringField(
        "Username", [InputRequired(REQUIRED), Bounded(max=LONGEST_FOLDED), storable]
    )
    password = PasswordField("Password", [InputRequired(REQUIRED), Bounded(max=LONGEST_PASSWORD)])
    remember_me = BooleanField("Remember Me")
    submit = SubmitField("Sign In")


class RegistrationForm(Form):
    """Register."""

    username = UsernameField()
    email = _address(Email(INVALID_ADDRESS))
    password = NewPasswordField()
    password2 = RepeatedPasswordField()
    submit = SubmitField("Register")

    def refuse(self, fields: frozenset[str]) -> None:
        """Say under each of `fields`, "username" or "email", that somebody has it already."""
        if "username" in fields:
            self.username.errors = [*self.username.errors, DIFFERENT_USERNAME]
        if "email" in fields:
            self.email.errors = [*self.email.errors, DIFFERENT_EMAIL]


class ResetPasswordRequestForm(Form):
    """Ask for a reset link, also with an address of an old database that today's rules refuse."""

    email = _address(Regexp(PLAIN_ADDRESS, message=INVALID_ADDRESS))
    submit = SubmitField("Request Password Reset")


class OwnersForm(Form):
    """A form by which the owner of an account chooses its password; `known`: their name and address."""

    password: NewPasswordField

    def __init__(self, formdata: Any = None, *, known: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(formdata, **kwargs)
        self.password.known = known


class ResetPasswordForm(OwnersForm):
    """Choose a new password."""

    password = NewPasswordField()
    password2 = RepeatedPasswordField()
    submit = SubmitField("Reset Password")


class ChangePasswordForm(OwnersForm):
    """Choose another password."""

    current = CurrentPasswordField()
    password = NewPasswordField("New Password")
    password2 = RepeatedPasswordField("Repeat New Password")
    submit = SubmitField("Change Password")


class ChangeEmailForm(Form):
    """Name another address."""

    email = _address(Email(INVALID_ADDRESS))
    current = CurrentPasswordField()
    submit = SubmitField("Send Confirmation")


class SessionIdField(HiddenField):
    """The id of a session, written into the page by its template."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators=[InputRequired(), Regexp(r"[1-9][0-9]{0,8}\Z")], **kwargs)

    @property
    def number(self) -> int:
        """The id, once the form is valid."""
        return int(self.data or 0)


class EndSessionForm(Form):
    """The button that ends one session."""

    session = SessionIdField()
    submit = SubmitField("End")


class DeleteAccountForm(Form):
    """Take leave."""

    sure = BooleanField("Delete my account and everything I wrote", [InputRequired(TICK_TO_DELETE)])
    current = CurrentPasswordField()
    submit = SubmitField("Delete My Account")
