"""The form of the greeting page."""

from __future__ import annotations

from wtforms import SubmitField
from wtforms.validators import DataRequired

from app.greeting.models import NAME_LENGTH
from app.web.fields import StringField
from app.web.forms import REQUIRED, Bounded, Form, storable, visible


def _on_one_line(value: str | None) -> str | None:
    return value and " ".join(value.split())


class NameForm(Form):
    """What is your name?"""

    name = StringField(
        "What is your name?",
        [DataRequired(REQUIRED), Bounded(max=NAME_LENGTH), visible, storable],
        filters=[_on_one_line],
    )
    submit = SubmitField("Submit")
