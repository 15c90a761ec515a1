"""CSRF tokens: an HMAC-SHA-256 over a secret of the visitor's session, with a time limit.

OWASP CSRF Prevention Cheat Sheet, "HMAC-based token pattern". WTForms' own class uses SHA-1.
"""

from __future__ import annotations

import hmac
import secrets
import time
from hashlib import sha256
from typing import Any

from quart import Quart, current_app, session
from wtforms import HiddenField, PasswordField, StringField, ValidationError
from wtforms.csrf.core import CSRF
from wtforms.form import BaseForm

TOKEN_SECONDS = 12 * 3600
SESSION_KEY = "csrf"
TOO_OLD = "This page was open for too long, or comes from an earlier login."
STALE = f"{TOO_OLD} What you typed is still here: please send it again."
STALE_BUT_PASSWORDS = (
    f"{TOO_OLD} What you typed is still here, passwords aside: please send it again."
)
STALE_WITH_NOTHING = f"{TOO_OLD} Please send it again."
BUTTON_TOO_OLD = f"{TOO_OLD} Please go back, reload it, and press the button again."
BUTTON_WAS_TOO_OLD = f"{TOO_OLD} Please press the button again."
"""On the page itself, that the visitor was just brought back to."""


class SessionCSRF(CSRF):
    """The CSRF class of every form: WTForms calls it for the hidden `csrf_token` field."""

    def generate_csrf_token(self, field: object) -> str:
        """Return a token for this visitor's session."""
        return make_token()

    def validate_csrf_token(self, form: BaseForm, field: Any) -> None:
        """Raise ValidationError, in words for people, unless the field's token is good."""
        if not is_good(field.data):
            raise ValidationError(_words_for(form))


def _words_for(form: BaseForm) -> str:
    """Return what is said over `form`, which keeps what was typed but passwords."""
    typed = [
        isinstance(field, PasswordField)
        for field in form
        if isinstance(field, StringField) and not isinstance(field, HiddenField)
    ]
    if all(typed):
        return STALE_WITH_NOTHING
    return STALE_BUT_PASSWORDS if any(typed) else STALE


def init_app(app: Quart) -> None:
    """Let templates call `csrf_token()` for the small forms that are one button."""
    app.jinja_env.globals["csrf_token"] = make_token


def make_token() -> str:
    """Return a token good for TOKEN_SECONDS in the session of this request."""
    nonce = session.get(SESSION_KEY)
    if not nonce:
        nonce = session[SESSION_KEY] = secrets.token_urlsafe(32)
    expires = str(int(time.time()) + TOKEN_SECONDS)
    return f"{expires}.{_sign(current_app.config['SECRET_KEY'], nonce, expires)}"


def is_good(token: str | None) -> bool:
    """Return whether `token` was made for the session of this request and is not too old."""
    nonce = session.get(SESSION_KEY)
    expires, _, signature = (token or "").partition(".")
    if not nonce or not (expires.isascii() and expires.isdigit() and len(expires) < 20):
        return False
    keys = [current_app.config["SECRET_KEY"], *current_app.config["SECRET_KEY_FALLBACKS"]]
    signed = any(
        hmac.compare_digest(_sign(key, nonce, expires).encode(), signature.encode()) for key in keys
    )
    return signed and int(expires) >= time.time()


def renew() -> None:
    """Make every token of this session stale: at login and logout the visitor becomes another."""
    session.pop(SESSION_KEY, None)


def _sign(key: str, nonce: str, expires: str) -> str:
    return hmac.new(key.encode(), f"csrf:{nonce}:{expires}".encode(), sha256).hexdigest()
