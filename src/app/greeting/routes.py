"""The greeting page."""

from __future__ import annotations

from quart import redirect, render_template, session
from quart.typing import ResponseReturnValue

from app.greeting import service
from app.greeting.forms import NameForm
from app.web import limits
from app.web.blueprint import Blueprint

NAMES_PER_PEER = "60 per hour"

blueprint = Blueprint("greeting", __name__)


@blueprint.route("/hello", methods=["GET", "POST"])
async def hello() -> ResponseReturnValue:
    """Ask for a name, and greet who gave one in this session."""
    form = await NameForm.from_request()
    if form.validate_on_submit():
        await limits.count((NAMES_PER_PEER, f"hello:{limits.peer()}"))
        session["known"] = await service.greet(form.name.data)
        session["name"] = form.name.data
        return redirect("/hello")
    html = await render_template(
        "greeting/hello.html",
        title="Hello",
        form=form,
        name=session.get("name"),
        known=session.get("known", False),
    )
    return html, form.status
