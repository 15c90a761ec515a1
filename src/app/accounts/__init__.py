"""Accounts: registering, logging in and out, sessions, passwords, and password resets by mail."""

from quart import Quart

from app.accounts import account_routes, auth, emails, names, password_policy, passwords, routes
from app.web import errors


def init_app(app: Quart) -> None:
    """Give `app` its password workers, its auth cookie, and the pages and mails of accounts."""
    passwords.init_app(app)
    password_policy.load()
    auth.init_app(app)
    app.jinja_env.globals.update(
        person_path=names.person_path, people_path=names.people_path, avatar_url=names.avatar_url
    )
    emails.init_app(app)
    app.register_blueprint(routes.blueprint)
    app.register_blueprint(account_routes.blueprint)
    app.register_error_handler(passwords.Busy, errors.service_unavailable)
