"""The base of every form: WTForms with CSRF, filled from Quart's request."""

from __future__ import annotations

import unicodedata
from typing import Any, Self

import wtforms
from quart import abort, request
from wtforms import Field, SubmitField
from wtforms import Form as WTForm
from wtforms.form import BaseForm
from wtforms.meta import DefaultMeta
from wtforms.validators import Length, StopValidation, ValidationError

from app.database import is_storable
from app.web.csrf import SessionCSRF

REQUIRED = "This field is required."
UNSTORABLE = "This contains a character that cannot be stored."
UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Form(WTForm):
    """A form with a CSRF token; `await SomeForm.from_request()` fills it with what was sent."""

    class Meta(DefaultMeta):
        """WTForms' settings: CSRF protection on, by SessionCSRF."""

        csrf = True
        csrf_class = SessionCSRF

    @classmethod
    async def from_request(cls, **defaults: Any) -> Self:
        """Return the form holding what this request sent, or `defaults` when it sent nothing.

        A body that is not UTF-8 is answered with 400.
        """
        if request.method not in UNSAFE_METHODS:
            return cls(None, **defaults)
        try:
            sent = await request.form
        except UnicodeDecodeError:
            abort(400)
        return cls(sent, **defaults)

    def validate_on_submit(self) -> bool:
        """Return whether this request sent the form and all of it is valid."""
        return request.method in UNSAFE_METHODS and self.validate()

    @property
    def status(self) -> int:
        """The HTTP status of a page that shows this form: 400 when its CSRF token was refused."""
        return 400 if "csrf_token" in self.errors else 200


class StringField(wtforms.StringField):
    """A line of text; `data` is text once the form is valid."""

    data: str


class EmailField(wtforms.EmailField):
    """An e-mail address; `data` is text once the form is valid."""

    data: str


class PasswordField(wtforms.PasswordField):
    """A password, never sent back to the browser; `data` is text once the form is valid."""

    data: str


class TextAreaField(wtforms.TextAreaField):
    """Text of several lines; `data` is text once the form is valid."""

    data: str


class EmptyForm(Form):
    """A form that is one button."""

    submit = SubmitField("Submit")


class Bounded(Length):
    """WTForms' Length, after which nothing else reads what is too long or too short."""

    def __call__(self, form: BaseForm, field: wtforms.StringField) -> None:
        """Raise StopValidation with the words of Length."""
        try:
            super().__call__(form, field)
        except ValidationError as error:
            raise StopValidation(str(error)) from error


def visible(form: object, field: Field) -> None:
    """Refuse text of which nothing can be seen, as of zero-width spaces (a WTForms validator)."""
    if not any(_shows(character) for character in field.data or ""):
        raise StopValidation(REQUIRED)


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


def storable(form: object, field: Field) -> None:
    """Refuse NUL and lone surrogates, which no database stores (a WTForms validator)."""
    if not is_storable(field.data or ""):
        raise StopValidation(UNSTORABLE)


def add_error(field: Field, message: str) -> None:
    """Show `message` below a field that its own validators accepted."""
    field.errors = [*field.errors, message]


def unify_newlines(value: str | None) -> str | None:
    """Return what was typed with each line break as one character, as browsers count it (a filter)."""
    return value and value.replace("\r\n", "\n").replace("\r", "\n")
