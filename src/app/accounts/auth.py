"""Authentication: Quart-Auth's cookie holds the token of a login session.

Views use `@login_required`, `@guests_only` and `await visitor()`; templates use `current_user`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec

from quart import Quart, after_this_request, current_app, g, redirect, request, url_for
from quart.typing import ResponseReturnValue, ResponseTypes
from quart_auth import AuthUser, QuartAuth, login_user, logout_user
from quart_auth import current_user as cookie_user

from app.accounts import devices, sessions
from app.accounts.browsers import describe
from app.accounts.models import USER_AGENT_LENGTH
from app.accounts.service import VerifiedCredentials, lock_if_current
from app.accounts.sessions import NOBODY, UNKNOWN, Visitor
from app.database import DatabaseUnavailable, writing
from app.web import csrf, languages
from app.web.languages import lazy_gettext
from app.web.request_log import log_event
from app.web.security import this_page
from app.web.templating import flash, flash_once

P = ParamSpec("P")
View = Callable[P, Awaitable[ResponseReturnValue]]
PLEASE_LOG_IN = lazy_gettext("Please log in to access this page.")
NOT_SAVED = lazy_gettext("You had been logged out, so what you sent was not saved.")
ALREADY_LOGGED_IN = lazy_gettext("You are already logged in as %(username)s.")

WITHOUT_VISITOR = (None, "static", "health", "appearance", "avatars")
"""Blueprints whose views need neither visitor nor database; None: an address without a view."""


class Authentication(QuartAuth):
    """Quart-Auth with an async template context: Quart would run a sync one in a thread."""

    async def _template_context(self) -> dict[str, Visitor]:  # type: ignore[override]
        try:
            return {"current_user": await visitor()}
        except DatabaseUnavailable:  # the 503 page itself
            return {"current_user": UNKNOWN}


def init_app(app: Quart) -> None:
    """Give `app` its auth cookie, and read the visitor before each view."""
    Authentication().init_app(app)
    app.before_request(identify)


async def identify() -> None:
    """Read the visitor before the view, so that its messages are in the language of their account."""
    if request.blueprint not in WITHOUT_VISITOR:
        await visitor()


async def visitor() -> Visitor:
    """Return the visitor who sent this request: one statement on the first call, none without a cookie."""
    if "visitor" not in g:
        g.visitor = NOBODY
        if token := cookie_user.auth_id:
            g.visitor = UNKNOWN  # so that the 503 page does not query the database again
            g.visitor = await sessions.find(token)
            languages.use(g.visitor.language, g.visitor.timezone)
            if not g.visitor.is_authenticated:
                logout_user()
            elif sessions.is_stale(g.visitor):
                current_app.add_background_task(sessions.touch, g.visitor)
    me: Visitor = g.visitor
    return me


async def log_in(credentials: VerifiedCredentials, *, remember: bool) -> None:
    """Start a session for this browser and record it as one of the account's.

    Raises service.OutdatedCredentials.
    """
    user_agent = "".join(c for c in request.headers.get("User-Agent", "") if c.isprintable())
    user_agent = user_agent[:USER_AGENT_LENGTH]
    device = known_device() or devices.make_token()
    async with writing() as session:
        await lock_if_current(session, credentials)
        token = await sessions.start(credentials.user_id, remember=remember, user_agent=user_agent)
        await devices.record_login(session, credentials.user_id, device, user_agent)
    login_user(AuthUser(token), remember=remember)
    csrf.renew()
    _keep_device(device)


def browser_name() -> str:
    """Return the browser and system of this request in words, such as "Firefox on Linux"."""
    return describe(request.headers.get("User-Agent", ""))


def known_device() -> str | None:
    """Return the token in this browser's device cookie, or None."""
    token = request.cookies.get(current_app.config["DEVICE_COOKIE_NAME"], "")
    return token if devices.is_token(token) else None


def _keep_device(token: str) -> None:
    """Set this browser's device cookie."""
    name, secure = current_app.config["DEVICE_COOKIE_NAME"], current_app.config["SESSION_COOKIE_SECURE"]

    @after_this_request
    async def set_cookie(response: ResponseTypes) -> ResponseTypes:
        response.set_cookie(name, token, devices.LIFETIME, secure=secure, httponly=True, samesite="Lax")
        return response


async def log_out() -> None:
    """End this browser's session and delete its cookie."""
    me = await visitor()
    if me.is_authenticated:
        log_event("logout", user=me.id)
        await sessions.end_one(me.id, me.session_id)
    logout_user()
    g.visitor = NOBODY
    csrf.renew()


def login_required_from(return_path: Callable[..., str]) -> Callable[[View[P]], View[P]]:
    """Send guests to the login page, and after their login to the path that `return_path` returns.

    For views that accept only POST: a browser comes back with GET.
    """

    def guard(view: View[P]) -> View[P]:
        @wraps(view)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if (await visitor()).is_authenticated:
                return await view(*args, **kwargs)
            if request.method in csrf.UNSAFE_METHODS:
                await flash(NOT_SAVED, "warning")
            await flash_once(PLEASE_LOG_IN)
            return redirect(url_for("accounts.login", next=return_path(*args, **kwargs)))

        return guarded

    return guard


def login_required(view: View[P]) -> View[P]:
    """Send guests to the login page, and back here after their login."""
    return login_required_from(lambda *args, **kwargs: this_page())(view)


def guests_only(view: View[P]) -> View[P]:
    """Send logged-in visitors to the timeline; a flash explains why a form they sent had no effect."""

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        me = await visitor()
        if me.is_authenticated:
            if request.method == "POST":
                await flash(ALREADY_LOGGED_IN % {"username": me.username}, "warning")
            return redirect("/index")
        return await view(*args, **kwargs)

    return guarded
