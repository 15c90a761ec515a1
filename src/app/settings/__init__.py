"""Every setting of the site: its name, how it is read, its default, and what must hold.

Values come from `create_app(config=...)`, else the environment, else a `.env` file in the working
directory, else the default. `table` lists them all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from app.quart_mail import ConfigurationError
from app.quart_mail.settings import SETTINGS as MAIL_SETTINGS
from app.quart_mail.settings import read_settings
from app.settings.table import SETTINGS, Setting, SettingsError

__all__ = ["SETTINGS", "VAR", "SettingsError", "from_environment", "load", "load_or_exit"]

SECRET_KEY_BYTES = 32
DIFFERENT_CHARACTERS = 8
VAR = Path("var")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
EXPIRY_MARGIN_SECONDS = 60
KNOWN_KEYS = frozenset({"you-will-never-guess", "hard to guess string", "secret", "dev"})


def load(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the value of every setting, those of `config` first; keys it does not know pass through.

    A key given as None has its default, whatever the environment says. Raises SettingsError with one
    line for the first wrong or missing one.
    """
    given = dict(config or {})
    sources = (os.environ, _from_file())
    values = {setting.key: _value(setting, given, sources) for setting in SETTINGS}
    _fill_in(values)
    _parse_mail_settings(values)
    _check(values)
    return {**given, **values}


def load_or_exit() -> dict[str, Any]:
    """Load the settings for a server that starts; a wrong one ends the process with its line and status 1."""
    try:
        return load()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


def from_environment() -> dict[str, str]:
    """Return what the environment gives, and where that is empty the `.env` file of this directory."""
    kept = _from_file()
    return kept | {key: value for key, value in os.environ.items() if value or key not in kept}


def _from_file() -> dict[str, str]:
    return {key: value for key, value in dotenv_values(".env").items() if value is not None}


def _value(setting: Setting, given: Mapping[str, Any], sources: Sequence[Mapping[str, str]]) -> Any:
    keys = (setting.key, *setting.aliases)
    named = [given[key] for key in keys if key in given]
    if not named:
        found = (source[key] for key in keys for source in sources if key in source)
        named = [raw for raw in found if raw or setting.may_be_empty]
    return setting.parse(next((raw for raw in named if raw is not None), setting.default))


def _fill_in(values: dict[str, Any]) -> None:
    """Give what production must name a value fit for this machine, under DEBUG and TESTING."""
    values["LOG_FORMAT"] = values["LOG_FORMAT"] or ("tall" if values["DEBUG"] else "text")
    if values["ACCESS_LOG"] is None:
        values["ACCESS_LOG"] = not (values["DEBUG"] or values["TESTING"])
    if values["OUTBOX_EXPIRY_MARGIN"] is None:
        margin = min(EXPIRY_MARGIN_SECONDS, values["RESET_TOKEN_SECONDS"] / 2)
        values["OUTBOX_EXPIRY_MARGIN"] = margin
    if values["DEBUG"] or values["TESTING"]:
        values["BASE_URL"] = values["BASE_URL"] or "http://127.0.0.1:8000"
        values["TRUSTED_HOSTS"] = (*values["TRUSTED_HOSTS"], *LOOPBACK_HOSTS)
    if values["DEBUG"]:
        values["ADMINS"] = values["ADMINS"] or ("admin@localhost",)
        values["FLASKY_ADMIN"] = values["FLASKY_ADMIN"] or "admin@localhost"
        values["SECRET_KEY"] = values["SECRET_KEY"] or _kept_secret()
    if values["TESTING"]:
        values["SECRET_KEY"] = values["SECRET_KEY"] or secrets.token_urlsafe(SECRET_KEY_BYTES)
    if values["MAIL_DEFAULT_SENDER"] is None and (values["DEBUG"] or values["TESTING"]):
        values["MAIL_DEFAULT_SENDER"] = "Microblog <noreply@localhost>"
    if values["MAIL_DEFAULT_SENDER"] is None and values["ADMINS"]:
        values["MAIL_DEFAULT_SENDER"] = values["ADMINS"][0]


def _parse_mail_settings(values: dict[str, Any]) -> None:
    """Replace the raw `MAIL_*` values by those that the mail extension will use."""
    try:
        state = read_settings(values, debug=values["DEBUG"], testing=values["TESTING"])
    except ConfigurationError as error:
        raise SettingsError(error.text) from None
    values |= {setting.key: getattr(state, setting.field) for setting in MAIL_SETTINGS}


def _kept_secret() -> str:
    """Return the key kept in `var/secret_key`, made at the first start: logins outlive a restart."""
    path = VAR / "secret_key"
    try:
        VAR.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _keep(secrets.token_urlsafe(SECRET_KEY_BYTES), path)
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"SECRET_KEY: none was given and {path} cannot be used ({error.strerror}); "
            "give the setting, or let this directory be written."
        ) from None


def _keep(secret: str, path: Path) -> None:
    """Write `secret` to `path` unless another process that starts now was first: whole, or not at all."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret)
    try:
        with suppress(FileExistsError):
            os.link(own, path)
    finally:
        own.unlink()


def _check(values: Mapping[str, Any]) -> None:
    """Raise SettingsError for what is missing in production, or does not go together."""
    for key, example in (
        (
            "SECRET_KEY",
            "32 random bytes: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        ),
        ("BASE_URL", "the address people use, such as https://example.com"),
        ("MAIL_DEFAULT_SENDER", "the address mails come from, or ADMINS"),
    ):
        if not values[key]:
            raise SettingsError(f"{key} is missing and DEBUG is off; give {example}.")
    if not (values["DEBUG"] or values["TESTING"]):
        _check_secrets(values)
    _check_together(values)


def _check_together(values: Mapping[str, Any]) -> None:
    if values["MAIL_COURIER"] == "celery" and not values["CELERY_BROKER_URL"]:
        raise SettingsError(
            "CELERY_BROKER_URL is missing, and Celery is to deliver the mail; "
            "give the broker's address, such as redis://127.0.0.1:6379/0."
        )
    for key, whole in (
        ("OUTBOX_RENEW", "OUTBOX_LEASE"),
        ("OUTBOX_EXPIRY_MARGIN", "RESET_TOKEN_SECONDS"),
    ):
        _check_half(values, key, whole)


def _check_half(values: Mapping[str, Any], key: str, whole: str) -> None:
    if 2 * values[key] > values[whole]:
        raise SettingsError(
            f"{key}: {values[key]:g} is not accepted; give at most half of {whole}, "
            f"which is {values[whole]:g}."
        )


def _check_secrets(values: Mapping[str, Any]) -> None:
    for key in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        given = values[key]
        if any(_is_weak(secret) for secret in ([given] if isinstance(given, str) else given)):
            raise SettingsError(
                f"{key}: the value given is not accepted (known, too short or too plain); "
                f"give at least {SECRET_KEY_BYTES} random bytes."
            )


def _is_weak(secret: str) -> bool:
    short = len(secret.encode()) < SECRET_KEY_BYTES
    return secret in KNOWN_KEYS or short or len(set(secret)) < DIFFERENT_CHARACTERS
