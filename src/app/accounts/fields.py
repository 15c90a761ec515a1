"""The fields of the forms of accounts: names, addresses and passwords, and what is accepted of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quart import current_app
from wtforms import HiddenField, ValidationError
from wtforms.form import BaseForm
from wtforms.validators import (
    DataRequired,
    Email,
    EqualTo,
    InputRequired,
    Regexp,
    StopValidation,
)

from app.accounts.canonical import canonical, normalise
from app.accounts.common_passwords import is_common, is_one_of
from app.accounts.models import EMAIL_LENGTH, USERNAME_LENGTH
from app.accounts.passwords import LONGEST_PASSWORD
from app.web.fields import EmailField, PasswordField, StringField
from app.web.forms import REQUIRED, Bounded, refuse, storable

USERNAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z"
USERNAME_RULE = "Use only letters A to Z, digits, _ . and -, starting with a letter or digit."
PLAIN_ADDRESS = r"\S+@[^@\s]+\Z"
INVALID_ADDRESS = "Invalid email address."
TOO_COMMON = "Many people use this password, so it is tried first. Please choose another one."
TOO_TELLING = "Please choose a password that is not your name or address."
NOT_CURRENT = "This is not your current password."
LONGEST_LOCAL_PART = 64
"""RFC 5321 4.5.3.1.1."""
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
        raise StopValidation(INVALID_ADDRESS)


def _deliverable(form: BaseForm, field: EmailField) -> None:
    """Refuse a local part that no mail server takes: `Email` lets 65 letters pass."""
    if len(field.data.rpartition("@")[0].encode()) > LONGEST_LOCAL_PART:
        raise ValidationError(INVALID_ADDRESS)


def address(rule: Email | Regexp) -> EmailField:
    """Return the field of an address that `rule` accepts: one of today for what is new."""
    checks = [DataRequired(REQUIRED), Bounded(max=EMAIL_LENGTH), storable, rule, _foldable]
    if isinstance(rule, Email):
        checks.append(_deliverable)
    return EmailField("Email", checks, filters=[_strip])


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
        refuse(self, NOT_CURRENT)


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


class SessionIdField(HiddenField):
    """The id of a session, written into the page by its template."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validators=[InputRequired(), Regexp(r"[1-9][0-9]{0,8}\Z")], **kwargs)

    @property
    def number(self) -> int:
        """The id, once the form is valid."""
        return int(self.data or 0)
