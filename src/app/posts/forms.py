"""The form of posts."""

from __future__ import annotations

from wtforms import SubmitField
from wtforms.validators import DataRequired, Length

from app.posts.models import BODY_LENGTH
from app.web.fields import TextAreaField
from app.web.forms import REQUIRED, Form, storable, unify_newlines, visible


class PostForm(Form):
    """Say something."""

    post = TextAreaField(
        "Say something",
        [DataRequired(REQUIRED), visible, storable, Length(min=1, max=BODY_LENGTH)],
        filters=[unify_newlines],
    )
    submit = SubmitField("Submit")
