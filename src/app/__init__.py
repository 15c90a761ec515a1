"""Microblog: a small social site on Quart with durable e-mail."""

from collections.abc import Mapping
from typing import Any

from quart import Quart

from app import (
    accounts,
    database,
    greeting,
    messages,
    outbox,
    personal_data,
    posts,
    profiles,
    reports,
    search,
    settings,
    shutdown,
    web,
)
from app.quart_mail import Mail

__version__ = "0.1.0"
__all__ = ["create_app", "mail"]

mail = Mail()
"""Sends at once, past the outbox: for programs that need the server's reply, or try again by themselves.

Use `app.mailer` or `app.email` for all other mail: it is stored first, and delivered even if the server is
down or this process ends.
"""


def create_app(config: Mapping[str, Any] | None = None) -> Quart:
    """Return the app. Settings in `config` override the environment, which overrides `.env`.

    Raises SettingsError; without `config`, as when a server calls it, exits with one line instead.
    """
    app = Quart(__name__, static_folder=None)
    app.config.from_mapping(settings.load_or_exit() if config is None else settings.load(config))

    database.init_app(app)
    web.init_app(app)  # before the features, whose pages need its templates and hooks
    mail.init_app(app)
    outbox.init_app(app)  # after the database, and before the features, which register their mails

    accounts.init_app(app)
    posts.init_app(app)
    profiles.init_app(app)
    search.init_app(app)
    messages.init_app(app)
    greeting.init_app(app)
    personal_data.init_app(app)
    reports.init_app(app)

    shutdown.init_app(app)
    return app
