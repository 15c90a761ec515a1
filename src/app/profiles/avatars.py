"""Pictures of people drawn here (AVATARS=local): a small symmetric pattern made of the address's MD5.

No other site learns who reads what, and it works without a connection.
"""

from __future__ import annotations

import re

from quart import Response, abort, current_app

from app.web.blueprint import Blueprint
from app.web.static import FOREVER

DIGEST = re.compile(r"[0-9a-f]{32}")
SIDE = 5

blueprint = Blueprint("avatars", __name__)


@blueprint.get("/avatar/<digest>.svg")
async def avatar(digest: str) -> Response:
    """Draw the picture that belongs to the MD5 `digest`, in 32 hexadecimal digits.

    It is the same for everybody and kept by caches, so its template is not told who asks.
    """
    if not DIGEST.fullmatch(digest):
        abort(404)
    template = current_app.jinja_env.get_template("profiles/avatar.svg")
    svg = await template.render_async(
        cells=cells(digest), hue=int(digest[-4:], 16) % 360, side=SIDE
    )
    return Response(svg, content_type="image/svg+xml", headers={"Cache-Control": FOREVER})


def cells(digest: str) -> list[tuple[int, int]]:
    """Return the filled cells, (column, row), of a pattern whose right half mirrors its left."""
    half = (SIDE + 1) // 2
    filled = [
        (number % half, number // half)
        for number, digit in enumerate(digest[: half * SIDE])
        if int(digit, 16) % 2
    ]
    return filled + [(SIDE - 1 - column, row) for column, row in filled if column < SIDE // 2]
