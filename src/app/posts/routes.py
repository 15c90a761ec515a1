"""The pages of posts."""

from __future__ import annotations

from quart import render_template
from quart.typing import ResponseReturnValue

from app.accounts.authentication import login_required
from app.web.blueprint import Blueprint

blueprint = Blueprint("posts", __name__)


@blueprint.get("/")
@blueprint.get("/index")
@login_required
async def index() -> ResponseReturnValue:
    """Greet who is logged in."""
    return await render_template("posts/index.html", title="Home")
