"""The settings of the site.

A value comes from `create_app(config=...)`, the environment, a `.env` file in the working directory or
the default, in this order. `table` lists all settings; this module loads them, fills in defaults that
depend on other settings, and checks their combination.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from app.quart_mail import ConfigurationError
from app.quart_mail.settings import SETTINGS as MAIL_SETTINGS
from app.quart_mail.settings import Setting, read_settings
from app.settings.table import REPLACED
from app.settings.table import SETTINGS as SETTINGS

SECRET_KEY_BYTES = 32
MIN_DIFFERENT_CHARACTERS = 8
VAR = Path("var")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
EXPIRY_MARGIN_SECONDS = 60
RESET_DELAY_SECONDS = 2.0
WELL_KNOWN_KEYS = frozenset({"you-will-never-guess", "hard to guess string", "secret", "dev"})
MAY_BE_EMPTY = "MAIL_SUBJECT_PREFIX"  # empty, any other variable means the default


class SettingsError(ValueError):
    """A setting is wrong or missing; the message is one line for the operator."""


def load(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all settings, together with any other keys of `config`.

    A key whose value in `config` is None gets its default, even if the environment sets it. Raises
    SettingsError, with a message of one line, for the first wrong or missing setting.
    """
    given = dict(config or {})
    sources = (os.environ, _from_file())
    try:
        values = {setting.key: _value(setting, given, sources) for setting in SETTINGS}
        _fill_in(values)
        mail = read_settings(values, debug=values["DEBUG"], testing=values["TESTING"])
    except ConfigurationError as error:
        raise SettingsError(error.text) from None
    values |= {setting.key: getattr(mail, name) for name, setting in MAIL_SETTINGS.items()}
    _check(values)
    return {**given, **values}


def load_or_exit() -> dict[str, Any]:
    """Return all settings for a server; if one is wrong, print the error and exit with status 1."""
    try:
        return load()
    except SettingsError as error:
        raise SystemExit(str(error)) from None


def from_environment() -> dict[str, str]:
    """Return the environment; empty or missing variables are taken from `.env`."""
    file = _from_file()
    return file | {key: value for key, value in os.environ.items() if value or key not in file}


def replaced() -> str | None:
    """Return a sentence about the settings of later versions of Microblog that are set, None if none is."""
    environment = from_environment()
    named = [f"{key} ({instead})" for key, instead in REPLACED.items() if environment.get(key)]
    return f"Settings without effect here: {', '.join(named)}" if named else None


def _from_file() -> dict[str, str]:
    return {key: value for key, value in dotenv_values(".env").items() if value is not None}


def _value(setting: Setting, given: Mapping[str, Any], sources: Sequence[Mapping[str, str]]) -> Any:
    keys = (setting.key, *setting.aliases)
    values = [given[key] for key in keys if key in given]
    if not values:
        variables = (source[key] for key in keys for source in sources if key in source)
        values = [raw for raw in variables if raw or setting.key == MAY_BE_EMPTY]
    return setting.parse(next((raw for raw in values if raw is not None), setting.default))


def _fill_in(values: dict[str, Any]) -> None:
    """Fill in defaults that depend on other settings, such as those for DEBUG and TESTING."""
    values["LOG_FORMAT"] = values["LOG_FORMAT"] or ("tall" if values["DEBUG"] else "text")
    if values["ACCESS_LOG"] is None:
        values["ACCESS_LOG"] = not (values["DEBUG"] or values["TESTING"])
    if values["OUTBOX_RESET_DELAY"] is None:
        values["OUTBOX_RESET_DELAY"] = 0.0 if values["TESTING"] else RESET_DELAY_SECONDS
    if values["OUTBOX_EXPIRY_MARGIN"] is None:
        margin = min(EXPIRY_MARGIN_SECONDS, values["RESET_TOKEN_SECONDS"] / 2)
        values["OUTBOX_EXPIRY_MARGIN"] = margin
    if values["DEBUG"] or values["TESTING"]:
        values["BASE_URL"] = values["BASE_URL"] or "http://127.0.0.1:8000"
        values["TRUSTED_HOSTS"] = (*values["TRUSTED_HOSTS"], *LOOPBACK_HOSTS)
    if values["DEBUG"]:
        values["ADMINS"] = values["ADMINS"] or ("admin@localhost",)
        values["FLASKY_ADMIN"] = values["FLASKY_ADMIN"] or "admin@localhost"
        values["SECRET_KEY"] = values["SECRET_KEY"] or _stored_secret_key()
    if values["TESTING"]:
        values["SECRET_KEY"] = values["SECRET_KEY"] or secrets.token_urlsafe(SECRET_KEY_BYTES)
    values["MAIL_DEBUG"] = values["MAIL_DEBUG"] or False  # else quart_mail logs addresses under DEBUG
    if values["MAIL_DEFAULT_SENDER"] is None and (values["DEBUG"] or values["TESTING"]):
        values["MAIL_DEFAULT_SENDER"] = "Microblog <noreply@localhost>"
    if values["MAIL_DEFAULT_SENDER"] is None and values["ADMINS"]:
        values["MAIL_DEFAULT_SENDER"] = values["ADMINS"][0]


def _stored_secret_key() -> str:
    """Return the key in `var/secret_key`, created at the first start so that logins survive restarts."""
    path = VAR / "secret_key"
    try:
        VAR.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _store(secrets.token_urlsafe(SECRET_KEY_BYTES), path)
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"SECRET_KEY is missing and {path} cannot be used ({error.strerror}); "
            "set SECRET_KEY or make the directory writable."
        ) from None


def _store(secret: str, path: Path) -> None:
    """Write `secret` to `path` atomically, unless another starting process has done so."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret)
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def _check(values: Mapping[str, Any]) -> None:
    """Raise SettingsError for settings that are missing in production or contradict each other."""
    for key, example in (
        ("SECRET_KEY", "32 random bytes: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"),
        ("BASE_URL", "the address people use, such as https://example.com"),
        ("MAIL_DEFAULT_SENDER", "the address that mail is sent from, or ADMINS"),
    ):
        if not values[key]:
            raise SettingsError(f"{key} is missing and DEBUG is off; give {example}.")
    if not (values["DEBUG"] or values["TESTING"]):
        _check_secrets(values)
    _check_together(values)


def _check_together(values: Mapping[str, Any]) -> None:
    if values["MAIL_COURIER"] == "celery" and not values["CELERY_BROKER_URL"]:
        raise SettingsError(
            "CELERY_BROKER_URL is missing and MAIL_COURIER is celery; "
            "give the broker's address, such as redis://127.0.0.1:6379/0."
        )
    periods = {"OUTBOX_RENEW": "OUTBOX_LEASE", "OUTBOX_EXPIRY_MARGIN": "RESET_TOKEN_SECONDS"}
    for key, period in periods.items():
        if 2 * values[key] > values[period]:
            raise SettingsError(
                f"{key}: {values[key]:g} is not accepted; give at most half of {period}, "
                f"which is {values[period]:g}."
            )


def _check_secrets(values: Mapping[str, Any]) -> None:
    for key in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        given = values[key]
        if any(_is_weak(secret) for secret in ([given] if isinstance(given, str) else given)):
            raise SettingsError(
                f"{key}: the value given is not accepted (well known, too short or too simple); "
                f"give at least {SECRET_KEY_BYTES} random bytes."
            )


def _is_weak(secret: str) -> bool:
    is_short = len(secret.encode()) < SECRET_KEY_BYTES
    return secret in WELL_KNOWN_KEYS or is_short or len(set(secret)) < MIN_DIFFERENT_CHARACTERS
