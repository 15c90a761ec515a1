"""WTForms' text fields for forms that require them: once the form is valid, `data` is text."""

from __future__ import annotations

import wtforms


class StringField(wtforms.StringField):
    """A line of text."""

    data: str


class EmailField(wtforms.EmailField):
    """An e-mail address."""

    data: str


class PasswordField(wtforms.PasswordField):
    """A password; what was sent is never shown again."""

    data: str


class TextAreaField(wtforms.TextAreaField):
    """Text of several lines."""

    data: str
