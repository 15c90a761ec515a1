"""Who asks: Quart-Auth's cookie carries the token of a login session, and this module reads it.

Views say `@login_required` or `@guests_only`, and ask `await visitor()`; templates see `current_user`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec
from urllib.parse import quote

from quart import (
    Quart,
    after_this_request,
    current_app,
    flash,
    g,
    redirect,
    request,
    url_for,
)
from quart.typing import ResponseReturnValue, ResponseTypes
from quart_auth import Action, AuthUser, QuartAuth

from app.accounts import browsers, devices, sessions
from app.accounts.proof import Proved, hold
from app.accounts.sessions import NOBODY, Visitor
from app.database import DatabaseUnavailable, writing
from app.web import csrf
from app.web.forms import UNSAFE_METHODS
from app.web.request_log import log_event
from app.web.templating import flash_once

P = ParamSpec("P")
View = Callable[P, Awaitable[ResponseReturnValue]]
PLEASE_LOG_IN = "Please log in to access this page."
NOT_SAVED = "You were not logged in any more, so what you sent was not saved."
LOGGED_IN_ALREADY = "You are logged in as {} already."


class Authentication(QuartAuth):
    """Quart-Auth with an async template context (its own is sync, so Quart would start a thread)."""

    async def _template_context(self) -> dict[str, Visitor]:  # type: ignore[override]
        try:
            return {"current_user": await visitor()}
        except DatabaseUnavailable:  # the 503 page itself
            return {"current_user": NOBODY}


def init_app(app: Quart) -> None:
    """Give `app` its auth cookie."""
    Authentication().init_app(app)


async def visitor() -> Visitor:
    """Return who asks, by one statement the first time in a request; NOBODY costs none."""
    if "visitor" not in g:
        token = _extension().load_user().auth_id
        g.visitor = NOBODY  # also for the 503 page: it does not wait for the database once more
        if token:
            g.visitor = await sessions.find(token)
        if token and not g.visitor.is_authenticated:
            _extension().logout_user()
        elif sessions.is_stale(g.visitor):
            current_app.add_background_task(sessions.touch, g.visitor)
    found: Visitor = g.visitor
    return found


async def log_in(proved: Proved, *, remember: bool) -> None:
    """Start a session for this browser, which has none, and note the browser as the account's.

    Raises Outdated when what was proved does not hold any more.
    """
    user_agent = request.headers.get("User-Agent", "")
    device = known_device() or devices.make_token()
    async with writing() as session:
        await hold(session, proved)
        token = await sessions.start(proved.user_id, remember=remember, user_agent=user_agent)
        await devices.welcome(session, proved.user_id, device, user_agent)
    action = Action.WRITE_PERMANENT if remember else Action.WRITE
    _extension().login_user(AuthUser(token, action))
    csrf.renew()
    _keep_device(device)


def browser_name() -> str:
    """Return the browser and system of this request in words, such as "Firefox on Linux"."""
    return browsers.describe(request.headers.get("User-Agent", ""))


def known_device() -> str | None:
    """Return the token in this browser's device cookie, if it has one."""
    token = request.cookies.get(current_app.config["DEVICE_COOKIE_NAME"], "")
    return token if devices.is_token(token) else None


def _keep_device(token: str) -> None:
    """Let this browser keep `token` in a cookie of its own."""
    config = current_app.config

    @after_this_request
    async def set_cookie(response: ResponseTypes) -> ResponseTypes:
        response.set_cookie(
            config["DEVICE_COOKIE_NAME"],
            token,
            max_age=int(devices.FORGOTTEN_AFTER.total_seconds()),
            secure=config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Lax",
        )
        return response


async def log_out() -> None:
    """End this browser's session on the server, and take its cookie back."""
    me = await visitor()
    if me.is_authenticated:
        log_event("logout", user=me.id)
        await sessions.end_one(me.id, me.session_id)
    _extension().logout_user()
    g.visitor = NOBODY
    csrf.renew()


def login_required(view: View[P]) -> View[P]:
    """Send visitors who are not logged in to the login page, and from there back."""

    def here(*args: P.args, **kwargs: P.kwargs) -> str:
        path = quote(request.path, errors="replace")
        query = request.query_string.decode("ascii", "replace")
        return f"{path}?{query}" if query else path

    return login_required_from(here)(view)


def login_required_from(way_back: Callable[P, str]) -> Callable[[View[P]], View[P]]:
    """Send visitors who are not logged in to the login page, and from there to what `way_back` returns.

    For views that only take a POST: a browser comes back with a GET.
    """

    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if (await visitor()).is_authenticated:
                return await view(*args, **kwargs)
            if request.method in UNSAFE_METHODS:
                await flash(NOT_SAVED, "warning")
            await flash_once(PLEASE_LOG_IN)
            return redirect(url_for("accounts.login", next=way_back(*args, **kwargs)))

        return guarded

    return guard


def guests_only(view: View[P]) -> View[P]:
    """Send visitors who are logged in to the timeline; who sent a form is told why it did nothing."""

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        me = await visitor()
        if me.is_authenticated:
            if request.method == "POST":
                await flash(LOGGED_IN_ALREADY.format(me.username), "warning")
            return redirect("/index")
        return await view(*args, **kwargs)

    return guarded


def _extension() -> Authentication:
    extension: Authentication = current_app.extensions["QUART_AUTH"][0]
    return extension
