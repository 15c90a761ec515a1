"""The forms of accounts; labels, field names and messages are those of the tutorials."""

from __future__ import annotations

import unicodedata
from typing import Any

from quart import current_app
from wtforms import BooleanField, SubmitField
from wtforms.form import BaseForm
from wtforms.validators import DataRequired, Email, EqualTo, InputRequired, Length, Regexp

from app.accounts.models import EMAIL_LENGTH, USERNAME_LENGTH
from app.accounts.passwords import LONGEST_PASSWORD
from app.web.fields import EmailField, PasswordField, StringField
from app.web.forms import Form, storable

REQUIRED = "This field is required."
USERNAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z"
USERNAME_RULE = "Use only letters A to Z, digits, _ . and -, starting with a letter or digit."
DIFFERENT_USERNAME = "Please use a different username."
DIFFERENT_EMAIL = "Please use a different email address."


def _strip(value: str | None) -> str | None:
    return value and value.strip()


def _normalise(value: str | None) -> str | None:
    """Return a name in NFKC, so that full-width letters are the letters they look like."""
    return value and unicodedata.normalize("NFKC", value).strip()


def _long_enough(form: BaseForm, field: PasswordField) -> None:
    Length(min=current_app.config["PASSWORD_MIN_LENGTH"], max=LONGEST_PASSWORD)(form, field)


class UsernameField(StringField):
    """The name of an account: after NFKC 1 to 64 of ASCII letters, digits, `_ . -`."""

    def __init__(self, label: str = "Username", **kwargs: Any) -> None:
        super().__init__(
            label,
            [
                DataRequired(REQUIRED),
                storable,
                Length(max=USERNAME_LENGTH),
                Regexp(USERNAME_PATTERN, message=USERNAME_RULE),
            ],
            filters=[_normalise],
            **kwargs,
        )


class LoginForm(Form):
    """Sign In."""

    username = StringField("Username", [DataRequired(REQUIRED), storable], filters=[_normalise])
    password = PasswordField("Password", [InputRequired(REQUIRED), Length(max=LONGEST_PASSWORD)])
    remember_me = BooleanField("Remember Me")
    submit = SubmitField("Sign In")


class RegistrationForm(Form):
    """Register."""

    username = UsernameField()
    email = EmailField(
        "Email",
        [DataRequired(REQUIRED), storable, Length(max=EMAIL_LENGTH), Email()],
        filters=[_strip],
    )
    password = PasswordField("Password", [InputRequired(REQUIRED), _long_enough])
    password2 = PasswordField("Repeat Password", [InputRequired(REQUIRED), EqualTo("password")])
    submit = SubmitField("Register")

    def refuse(self, fields: frozenset[str]) -> None:
        """Say under each of `fields`, "username" or "email", that somebody has it already."""
        if "username" in fields:
            self.username.errors = [*self.username.errors, DIFFERENT_USERNAME]
        if "email" in fields:
            self.email.errors = [*self.email.errors, DIFFERENT_EMAIL]


class ResetPasswordRequestForm(Form):
    """Ask for a reset link."""

    email = EmailField(
        "Email",
        [DataRequired(REQUIRED), storable, Length(max=EMAIL_LENGTH), Email()],
        filters=[_strip],
    )
    submit = SubmitField("Request Password Reset")


class ResetPasswordForm(Form):
    """Choose a new password."""

    password = PasswordField("Password", [InputRequired(REQUIRED), _long_enough])
    password2 = PasswordField("Repeat Password", [InputRequired(REQUIRED), EqualTo("password")])
    submit = SubmitField("Reset Password")


class EmptyForm(Form):
    """A form that is one button."""

    submit = SubmitField("Submit")
