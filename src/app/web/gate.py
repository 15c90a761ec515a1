"""What every request passes before there is a page: ASGI pieces around the app, outermost last."""

from __future__ import annotations

from hypercorn.middleware import ProxyFixMiddleware
from hypercorn.typing import ASGIFramework
from quart import Quart

from app.web.bounds import Bounds
from app.web.exchange import Exchanges
from app.web.refusals import Refusals
from app.web.shedding import Shedder


def init_app(app: Quart) -> None:
    """Put the pieces around `app`: X-Forwarded-* is believed of TRUSTED_PROXIES proxies, else of none."""
    config = app.config
    refusals = Refusals(app)
    piece: ASGIFramework = app.asgi_app
    shedder = piece = Shedder(piece, refusals, most=config["MAX_REQUESTS"])
    bounds = piece = Bounds(piece, refusals, config)
    piece = Exchanges(piece, log=config["ACCESS_LOG"])
    if config["TRUSTED_PROXIES"]:
        piece = ProxyFixMiddleware(piece, mode="legacy", trusted_hops=config["TRUSTED_PROXIES"])
    app.asgi_app = piece  # type: ignore[method-assign]
    app.extensions["gate"] = (bounds, shedder)
