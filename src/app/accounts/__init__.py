"""Accounts: registering, logging in and out, sessions, passwords, and getting back in by mail."""

from __future__ import annotations

from quart import Quart

from app.accounts import (
    auth,
    common_passwords,
    emails,
    links,
    names,
    owner,
    passwords,
    routes,
)
from app.web import errors


def init_app(app: Quart) -> None:
    """Give `app` its hashing processes, its auth cookie and the pages of accounts."""
    passwords.init_app(app)
    common_passwords.warm()
    auth.init_app(app)
    names.init_app(app)
    emails.init_app(app)
    app.register_blueprint(routes.blueprint)
    app.register_blueprint(owner.blueprint)
    app.register_blueprint(links.blueprint)
    app.register_error_handler(passwords.Busy, errors.unavailable)
