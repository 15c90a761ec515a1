"""What every form builds on: WTForms with CSRF protection, filled from Quart's request."""

import unicodedata
from typing import Any, Self

import wtforms
from quart import abort, render_template, request
from wtforms import Field, SubmitField
from wtforms import Form as WTForm
from wtforms.form import BaseForm
from wtforms.meta import DefaultMeta
from wtforms.validators import StopValidation

from app.database import is_storable
from app.web import languages, limits
from app.web.csrf import UNSAFE_METHODS, SessionCSRF
from app.web.languages import lazy_gettext, ngettext

REQUIRED = lazy_gettext("This field is required.")
# Translators: %(time)s is a duration, such as "5 minutes"
TOO_MANY_ATTEMPTS = lazy_gettext("Too many attempts. Please try again in %(time)s.")
UNSTORABLE = lazy_gettext("This contains a character that cannot be stored.")
INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # Unicode's categories of controls, formats and spaces


class Form(WTForm):
    """A form with a CSRF token; create it with `await SomeForm.from_request()`."""

    class Meta(DefaultMeta):
        """WTForms' settings: CSRF protection on, by SessionCSRF."""

        csrf = True
        csrf_class = SessionCSRF

        def get_translations(self, form: BaseForm) -> Any:
            """Return WTForms' own messages in the reader's language."""
            return languages.current().validators

    retry_after: int | None = None
    """Seconds to wait if a limit is exceeded."""

    @classmethod
    async def from_request(cls, **defaults: Any) -> Self:
        """Return the form as this request submits it (400 unless that is UTF-8), or with `defaults`."""
        if request.method not in UNSAFE_METHODS:
            return cls(None, **defaults)
        try:
            data = await request.form
        except UnicodeDecodeError:
            abort(400)
        return cls(data, **defaults)

    def validate_on_submit(self) -> bool:
        """Return whether this request submits the form and all of it is valid."""
        return request.method in UNSAFE_METHODS and self.validate()

    async def count(self, *counted: limits.Limit, message: str = TOO_MANY_ATTEMPTS) -> bool:
        """Count a valid submission against limits; return False if one is exceeded.

        Then the page shows `message` above the form, with the time to wait in place of its `%(time)s`, and
        has status 429 and a Retry-After header.
        """
        for rule, key in counted:
            if seconds := await limits.count(rule, key):
                self.retry_after = seconds
                self.form_errors.append(message % {"time": limits.duration(seconds)})
                return False
        return True

    async def render(self, template: str, **context: Any) -> tuple[str, int, dict[str, str]]:
        """Return a page that shows this form, its status (200, 400: CSRF token refused, 429) and headers."""
        page = await render_template(template, form=self, **context)
        if self.retry_after is not None:
            return page, 429, {"Retry-After": str(self.retry_after)}
        return page, 400 if "csrf_token" in self.errors else 200, {}


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
    """A form that is a single button."""

    submit = SubmitField(lazy_gettext("Submit"))


def too_long(length: int, most: int) -> str:
    """Return the message about a text of `length` characters that may have `most`."""
    return ngettext(
        "Too long by %(excess)s: at most %(num)s character.",
        "Too long by %(excess)s: at most %(num)s characters.",
        most,
        excess=length - most,
    )


class Bounded:
    """Validate the length in characters; no later validator reads a text that is too long or too short."""

    def __init__(self, *, min: int = 0, max: int) -> None:  # noqa: A002 -- as WTForms' Length
        self.min, self.max = min, max
        self.field_flags = {"limit": max}

    def __call__(self, form: BaseForm, field: Field) -> None:
        """Raise StopValidation if the text is too long or too short."""
        length = len(field.data or "")
        if length > self.max:
            raise StopValidation(too_long(length, self.max))
        if length < self.min:
            raise StopValidation(
                ngettext(
                    "Too short: at least %(num)s character.",
                    "Too short: at least %(num)s characters.",
                    self.min,
                )
            )


def visible(form: object, field: Field) -> None:
    """Refuse text without a visible character, such as zero-width spaces (a WTForms validator)."""
    if all(unicodedata.category(character) in INVISIBLE for character in field.data or ""):
        raise StopValidation(REQUIRED)


def storable(form: object, field: Field) -> None:
    """Refuse NUL and lone surrogates, which databases cannot store (a WTForms validator)."""
    if not is_storable(field.data or ""):
        raise StopValidation(UNSTORABLE)


def add_error(field: Field, message: str) -> None:
    """Show `message` below a field that its own validators accepted."""
    field.errors = [*field.errors, message]


def unify_newlines(value: str | None) -> str | None:
    """Return `value` with each line break as one character, as browsers count it (a WTForms filter)."""
    return value and value.replace("\r\n", "\n").replace("\r", "\n")
