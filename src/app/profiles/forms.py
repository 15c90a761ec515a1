"""The Edit Profile form."""

from __future__ import annotations

from typing import Any

from wtforms import SubmitField
from wtforms.validators import StopValidation

from app.accounts.forms import DIFFERENT_USERNAME, UsernameField
from app.accounts.models import ABOUT_ME_LENGTH
from app.web.forms import Bounded, Form, TextAreaField, add_error, storable, unify_newlines


class OwnUsernameField(UsernameField):
    """A name that may also stay unchanged, because old databases contain names that today's rules refuse."""

    own: str = ""

    def pre_validate(self, form: object) -> None:
        """Accept the person's current name without checking it."""
        sent = self.raw_data[0] if self.raw_data else None
        if self.own and sent is not None and self.own in (sent, self.data):
            self.data = self.own
            raise StopValidation


class EditProfileForm(Form):
    """Edit Profile."""

    username = OwnUsernameField()
    about_me = TextAreaField(
        "About me",
        [storable, Bounded(max=ABOUT_ME_LENGTH)],
        filters=[unify_newlines],
    )
    submit = SubmitField("Submit")

    def __init__(self, formdata: Any = None, *, own: str = "", **kwargs: Any) -> None:
        super().__init__(formdata, **kwargs)
        self.username.own = own

    def refuse_username(self) -> None:
        """Show below the name that it is taken."""
        add_error(self.username, DIFFERENT_USERNAME)
