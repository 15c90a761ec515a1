"""CSRF tokens: an HMAC-SHA-256 over a secret in the visitor's session, with an expiry time.

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
EXPIRED = "This form has expired. Your input has been kept. Please submit it again."
EXPIRED_KEPT_EXCEPT_PASSWORDS = (
    "This form has expired. Your input has been kept (except passwords). Please submit it again."
)
EXPIRED_NOTHING_KEPT = "This form has expired. Please submit it again."
BUTTON_EXPIRED = "This page has expired. Please go back, reload it and try again."
BUTTON_EXPIRED_TRY_AGAIN = "This page had expired. Please try again."
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
    """Return the message above `form`, which shows again what was typed except passwords."""
    are_passwords = [
        isinstance(field, PasswordField)
        for field in form
        if isinstance(field, StringField) and not isinstance(field, HiddenField)
    ]
    if all(are_passwords):
        return EXPIRED_NOTHING_KEPT
    return EXPIRED_KEPT_EXCEPT_PASSWORDS if any(are_passwords) else EXPIRED


def init_app(app: Quart) -> None:
    """Let templates call `csrf_token()` for forms that are a single button."""
    app.jinja_env.globals["csrf_token"] = make_token


def make_token() -> str:
    """Return a token that is valid for TOKEN_SECONDS in the session of this request."""
    nonce = session.get(SESSION_KEY)
    if not nonce:
        nonce = session[SESSION_KEY] = secrets.token_urlsafe(32)
    expires = str(int(time.time()) + TOKEN_SECONDS)
    return f"{expires}.{_sign(current_app.config['SECRET_KEY'], nonce, expires)}"


def is_valid(token: str | None) -> bool:
    """Return whether `token` was made for the session of this request and has not expired."""
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
    """Invalidate every token of this session; called at login and logout."""
    session.pop(SESSION_KEY, None)


def _sign(key: str, nonce: str, expires: str) -> str:
    return hmac.new(key.encode(), f"csrf:{nonce}:{expires}".encode(), sha256).hexdigest()
