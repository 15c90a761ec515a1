"""CSRF: a token in every form, and no unsafe request from a page of another site.

The token is an HMAC-SHA-256 over a secret in the session cookie, the login session and an expiry time.
Without the login session, an attacker who can set a session cookie in somebody's browser, for example from a
subdomain, would know a token that is valid for that person's login. WTForms' own class uses SHA-1.

The time is in nanoseconds, so that every page has a different token. So pages may be compressed although they
repeat parts of the request: the sizes of several pages reveal nothing about a token (BREACH).

OWASP CSRF Prevention Cheat Sheet, "HMAC-based token pattern" and "Fetch Metadata headers".
"""

import hmac
import secrets
import time
from typing import Any, cast
from urllib.parse import urlsplit

from quart import Quart, abort, current_app, g, request, session
from quart_auth import current_user
from wtforms import HiddenField, PasswordField, StringField, ValidationError
from wtforms.csrf.core import CSRF
from wtforms.form import BaseForm

from app.web.languages import lazy_gettext
from app.web.security import DEFAULT_PORTS

UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
TOKEN_SECONDS = 12 * 3600
SESSION_KEY = "csrf"
EXPIRED = lazy_gettext("This form has expired. Your input has been kept. Please submit it again.")
EXPIRED_KEPT_EXCEPT_PASSWORDS = lazy_gettext(
    "This form has expired. Your input has been kept (except passwords). Please submit it again."
)
EXPIRED_NOTHING_KEPT = lazy_gettext("This form has expired. Please submit it again.")
BUTTON_EXPIRED = lazy_gettext("This page has expired. Please go back, reload it and try again.")
BUTTON_EXPIRED_TRY_AGAIN = lazy_gettext("This page had expired. Please try again.")
"""For the page to which the visitor was redirected."""


class SessionCSRF(CSRF):
    """Makes and checks the hidden `csrf_token` field of every form, as WTForms' `Meta.csrf_class`."""

    def generate_csrf_token(self, field: object) -> str:
        """Return a token for this visitor's session."""
        return make_token()

    def validate_csrf_token(self, form: BaseForm, field: Any) -> None:
        """Raise ValidationError unless the token sent in `field` is valid."""
        if not is_valid(field.data):
            raise ValidationError(_message(form))


def _message(form: BaseForm) -> str:
    """Return the message above `form`, which keeps what was typed, except passwords."""
    are_passwords = [
        isinstance(field, PasswordField)
        for field in form
        if isinstance(field, StringField) and not isinstance(field, HiddenField)
    ]
    if all(are_passwords):
        return EXPIRED_NOTHING_KEPT
    return EXPIRED_KEPT_EXCEPT_PASSWORDS if any(are_passwords) else EXPIRED


def init_app(app: Quart) -> None:
    """Refuse unsafe requests of other sites, and let templates call `csrf_token()`."""
    app.jinja_env.globals["csrf_token"] = make_token
    app.before_request(refuse_other_sites)


async def refuse_other_sites() -> None:
    """Answer 403 to an unsafe request if its browser says that a page of another site has sent it.

    Older browsers and programs send neither header. Pages of this site send `Origin: null` because of their
    Referrer-Policy. So may a page of a sibling domain, but its Sec-Fetch-Site is `same-site`.
    """
    if request.method not in UNSAFE_METHODS:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_sibling = origin in (None, "null") and site == "same-site"
    is_foreign = origin not in (None, "null") and not _is_own_origin(origin)
    if site == "cross-site" or is_sibling or is_foreign:
        abort(403)


def _is_own_origin(origin: str) -> bool:
    """Return whether `origin` is that of BASE_URL or of the host to which this request was sent.

    Under an https BASE_URL it must be https too: anybody on the way can write a page for http.
    """
    base = urlsplit(current_app.config["BASE_URL"])
    try:
        given = urlsplit(origin.lower())
    except ValueError:
        return False
    if given.scheme not in ({"https"} if base.scheme == "https" else DEFAULT_PORTS):
        return False
    port = DEFAULT_PORTS[given.scheme]
    host = given.netloc.removesuffix(port)
    return host in {base.netloc.removesuffix(port), request.host.lower().removesuffix(port)}


def make_token() -> str:
    """Return a token that is valid for TOKEN_SECONDS in the session and login of this request.

    All forms of a page share one, because signing four would take 2 % of the page's time. A login or logout
    within the request makes a new nonce (`renew`), and so a new token.
    """
    nonce = session.get(SESSION_KEY)
    if not nonce:
        nonce = session[SESSION_KEY] = secrets.token_urlsafe(32)
    made_for, token = g.get("csrf_token", ("", ""))
    if made_for != nonce:
        key, login = current_app.config["SECRET_KEY"], current_user.auth_id or ""
        expires = str(time.time_ns() + TOKEN_SECONDS * 10**9)
        token = f"{expires}.{_sign(key, nonce, login, expires)}"
        g.csrf_token = nonce, token
    return cast(str, token)


def is_valid(token: str | None) -> bool:
    """Return whether `token` was made for the session and login of this request and has not expired."""
    nonce, login = session.get(SESSION_KEY), current_user.auth_id or ""
    expires, _, signature = (token or "").partition(".")
    if not nonce or not (expires.isascii() and expires.isdigit() and len(expires) < 20):
        return False
    keys = [current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]
    signatures = [_sign(key, nonce, login, expires) for key in keys]
    signed = any(hmac.compare_digest(each.encode(), signature.encode()) for each in signatures)
    return signed and int(expires) >= time.time_ns()


def renew() -> None:
    """Invalidate every token of this session; called at login and logout."""
    session.pop(SESSION_KEY, None)


def _sign(key: str, nonce: str, login: str, expires: str) -> str:
    return hmac.digest(key.encode(), f"csrf:{nonce}:{login}:{expires}".encode(), "sha256").hex()
