"""Flasky's greeting page: it asks for a name, greets the visitor, and recognizes a known name."""

import re
import unicodedata
from datetime import UTC, datetime

from quart import Quart, redirect, session
from quart.typing import ResponseReturnValue
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column
from wtforms import SubmitField, ValidationError
from wtforms.validators import DataRequired

from app.accounts import emails
from app.database import Base, UtcDateTime, insert_into, writing
from app.web.forms import REQUIRED, Bounded, Form, StringField, storable, visible
from app.web.languages import lazy_gettext
from app.web.security import current_peer
from app.web.templating import Blueprint

NAME_LENGTH = 64
NAMES_PER_PEER = "20 per hour"
NAME_RULE = lazy_gettext(
    "Please enter a name: letters, spaces, hyphens and apostrophes, and dots after initials and "
    "abbreviations."
)
_WORD = r"['\u2019]?L[LMN]*(?:['\u2019-][LMN]+)*['\u2019]?\.?"
_INITIALS = r"(?:LM*\.)+"
NAME = re.compile(rf"(?:{_INITIALS}|{_WORD})(?: (?:{_INITIALS}|{_WORD}))*")
"""A name in which each letter is written as L, each combining mark as M and each digit as N.

The administrator's mail program would make links of addresses, so a name holds none.
"""

blueprint = Blueprint("greeting", __name__)


def init_app(app: Quart) -> None:
    """Give `app` the greeting page."""
    app.register_blueprint(blueprint)


class Greeted(Base):
    """A name given on the greeting page, and when it was given first."""

    __tablename__ = "greeted"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))


def _collapse_spaces(value: str | None) -> str | None:
    return value and " ".join(value.split())


def _is_name(form: object, field: StringField) -> None:
    """Refuse anything but a name, such as an address or a sentence with figures (a WTForms validator)."""
    categories = ((character, unicodedata.category(character)[0]) for character in field.data)
    pattern = "".join(kind if kind in "LMN" else character for character, kind in categories)
    if not NAME.fullmatch(pattern):
        raise ValidationError(NAME_RULE)


class NameForm(Form):
    """What is your name?"""

    name = StringField(
        lazy_gettext("What is your name?"),
        [DataRequired(REQUIRED), Bounded(max=NAME_LENGTH), visible, storable, _is_name],
        filters=[_collapse_spaces],
    )
    submit = SubmitField(lazy_gettext("Submit"))


@blueprint.route("/hello", methods=["GET", "POST"])
async def hello() -> ResponseReturnValue:
    """Ask for a name, and greet the visitor by the name given in this session."""
    form = await NameForm.from_request()
    if form.validate_on_submit() and await form.count((NAMES_PER_PEER, f"hello:{current_peer()}")):
        session["known"] = not await add_name(form.name.data)
        session["name"] = form.name.data
        return redirect("/hello")
    return await form.render(
        "greeting/hello.html",
        title=lazy_gettext("Hello"),
        name=session.get("name"),
        known=session.get("known", False),
    )


async def add_name(name: str) -> bool:
    """Store `name` and tell the administrator of it; return False if it was stored before.

    If two requests bring the same new name at once, only one of them stores it.
    """
    async with writing() as database_session:
        stored = await database_session.scalar(
            insert_into(database_session, Greeted)
            .values(name=name)
            .on_conflict_do_nothing()
            .returning(Greeted.id)
        )
        if stored is None:
            return False
        await emails.announce(database_session, emails.NewUser(names=(name,)))
        return True
