"""The mail extension's own judgement of its settings, told like that of any other setting."""

from __future__ import annotations

from quart import Quart

from app.quart_mail import ConfigurationError, Mail
from app.settings.table import SettingsError


def init_app(app: Quart, mail: Mail) -> None:
    """Set up `mail` for `app`; raises SettingsError with the line of what `mail` does not accept."""
    try:
        mail.init_app(app)
    except ConfigurationError as error:
        raise SettingsError(error.text) from None
