"""The forms of accounts; labels, field names and messages are those of the tutorials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wtforms import BooleanField, SubmitField, ValidationError
from wtforms.validators import Email, InputRequired, Regexp

from app.accounts.canonical import LONGEST_FOLDED
from app.accounts.fields import (
    INVALID_ADDRESS,
    PLAIN_ADDRESS,
    CurrentPasswordField,
    NewPasswordField,
    RepeatedPasswordField,
    SessionIdField,
    UsernameField,
    address,
)
from app.accounts.passwords import LONGEST_PASSWORD
from app.web.fields import EmailField, PasswordField, StringField
from app.web.forms import REQUIRED, Bounded, Form, refuse, storable

DIFFERENT_USERNAME = "Please use a different username."
DIFFERENT_EMAIL = "Please use a different email address."
SAME_PASSWORD = "Please choose a password that is not your current one."  # noqa: S105
SAME_ADDRESS = "This is your address already."
TICK_TO_DELETE = "Please tick this, if you are sure."


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
    email = address(Email(INVALID_ADDRESS))
    password = NewPasswordField()
    password2 = RepeatedPasswordField()
    submit = SubmitField("Register")

    def refuse(self, fields: frozenset[str]) -> None:
        """Say under each of `fields`, "username" or "email", that somebody has it already."""
        if "username" in fields:
            refuse(self.username, DIFFERENT_USERNAME)
        if "email" in fields:
            refuse(self.email, DIFFERENT_EMAIL)


class ResetPasswordRequestForm(Form):
    """Ask for a reset link, also with an address of an old database that today's rules refuse."""

    email = address(Regexp(PLAIN_ADDRESS, message=INVALID_ADDRESS))
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

    def validate_password(self, field: NewPasswordField) -> None:
        """Refuse the password that it is said to be already."""
        if field.data == self.current.data:
            raise ValidationError(SAME_PASSWORD)


class ChangeEmailForm(Form):
    """Name another address; `own`: the one that the account has."""

    email = address(Email(INVALID_ADDRESS))
    current = CurrentPasswordField()
    submit = SubmitField("Send Confirmation")

    def __init__(self, formdata: Any = None, *, own: str = "", **kwargs: Any) -> None:
        super().__init__(formdata, **kwargs)
        self.own = own

    def validate_email(self, field: EmailField) -> None:
        """Refuse the address that the account has."""
        if field.data == self.own:
            raise ValidationError(SAME_ADDRESS)


class EndSessionForm(Form):
    """The button that ends one session."""

    session = SessionIdField()
    submit = SubmitField("End")


class DeleteAccountForm(Form):
    """Take leave."""

    sure = BooleanField("Delete my account and everything I wrote", [InputRequired(TICK_TO_DELETE)])
    current = CurrentPasswordField()
    submit = SubmitField("Delete My Account")
