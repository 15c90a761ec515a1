"""The form of posts."""

from __future__ import annotations

from wtforms import SubmitField
from wtforms.validators import DataRequired

from app.posts.models import BODY_LENGTH
from app.web.fields import TextAreaField
from app.web.forms import REQUIRED, Bounded, Form, storable, unify_newlines, visible


class PostForm(Form):
    """Say something."""

    post = TextAreaField(
        "Say something",
        [DataRequired(REQUIRED), Bounded(min=1, max=BODY_LENGTH), visible, storable],
        filters=[unify_newlines],
    )
    submit = SubmitField("Submit")
