"""Every setting of the site: its name, how it is read, its default, and what must hold.

Values come from `create_app(config=...)`, else the environment, else a `.env` file in the working
directory, else the default. CONTRACT.md section 2 and MAIL.md are the source of names and defaults.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from app import parsing
from app.parsing import Parser, boolean, one_of, seconds, text, whole

HOUR = 3600
DAY = 24 * HOUR
SECRET_KEY_BYTES = 32
VAR = Path("var")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
KNOWN_KEYS = frozenset({"you-will-never-guess", "hard to guess string", "secret", "dev"})


class SettingsError(ValueError, SystemExit):
    """A setting that stops the start.

    It is a SystemExit too: left uncaught, under hypercorn or a console, Python prints its one line and
    exits with status 1 instead of a traceback.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.code = line


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: how its value is parsed, its default, older names, and whether it must not be shown."""

    key: str
    parser: Parser
    default: Any = None
    aliases: tuple[str, ...] = ()
    secret: bool = False

    def parse(self, raw: Any) -> Any:
        """Return the typed value of `raw`, or raise SettingsError naming key, value and what is accepted."""
        if raw is None:
            return None
        try:
            return self.parser(raw)
        except (ValueError, TypeError):
            shown = "the value given" if self.secret else repr(raw)
            raise SettingsError(
                f"{self.key}: {shown} is not accepted; give {self.parser.accepts}."
            ) from None


SETTINGS = (
    Setting("DEBUG", boolean, False),
    Setting("TESTING", boolean, False),
    Setting("SECRET_KEY", text, secret=True),
    Setting("SECRET_KEY_FALLBACKS", parsing.words, (), secret=True),
    Setting("DATABASE_URL", parsing.database_url, "sqlite:///var/microblog.db", secret=True),
    Setting("BASE_URL", parsing.origin),
    Setting("TRUSTED_HOSTS", parsing.words, ()),
    Setting("TRUSTED_PROXIES", whole(0, 10), 0),
    Setting("ADMINS", parsing.addresses, ()),
    Setting("FLASKY_ADMIN", parsing.address),
    Setting("MAX_CONTENT_LENGTH", whole(10_000, 2**40), 2**20),
    Setting("MAX_FORM_PARTS", whole(20, 1_000_000), 1000),
    Setting("MAX_URL_LENGTH", whole(500, 1_000_000), 8000),
    Setting("BODY_TIMEOUT", seconds(0.1), 15),
    Setting("MAX_REQUESTS", whole(1, 1_000_000), 300),
    Setting("LOG_FORMAT", one_of("text", "json", "tall")),
    Setting("ACCESS_LOG", boolean),
    Setting("POSTS_PER_PAGE", whole(1, 500), 25),
    Setting("AVATARS", one_of("gravatar", "local"), "gravatar"),
    Setting("PASSWORD_MIN_LENGTH", whole(1, 128), 8),
    Setting("PASSWORD_HASH_METHOD", parsing.hash_method, parsing.DEFAULT_HASH_METHOD),
    Setting("PASSWORD_PROCESSES", whole(0, 64), 2),
    Setting("RESET_TOKEN_SECONDS", seconds(60, DAY), 600),
    Setting("CONFIRM_EMAIL", boolean, False),
    Setting("SESSION_IDLE_SECONDS", seconds(60), 12 * HOUR),
    Setting("SESSION_SECONDS", seconds(60), 7 * DAY),
    Setting("REMEMBER_SECONDS", seconds(60), 30 * DAY),
    Setting("RATELIMIT_ENABLED", boolean, True),
    Setting("RATELIMIT_STORAGE_URI", parsing.counters, "memory", secret=True),
    Setting("MAIL_SERVER", text, "localhost", ("MAIL_HOSTNAME",)),
    Setting("MAIL_PORT", whole(1, 65535), 25),
    Setting("MAIL_USE_TLS", boolean, False),
    Setting("MAIL_USE_SSL", boolean, False),
    Setting("MAIL_USERNAME", text),
    Setting("MAIL_PASSWORD", text, secret=True),
    Setting("MAIL_OAUTH2_TOKEN", Parser(lambda raw: raw, "a token"), secret=True),
    Setting("MAIL_ALLOW_CLEARTEXT_AUTH", boolean, False),
    Setting("MAIL_DEFAULT_SENDER", parsing.sender, None, ("FLASKY_MAIL_SENDER",)),
    Setting("MAIL_SUBJECT_PREFIX", text, "[Microblog]", ("FLASKY_MAIL_SUBJECT_PREFIX",)),
    Setting("MAIL_DEBUG", boolean),
    Setting("MAIL_SUPPRESS_SEND", boolean),
    Setting("MAIL_ASCII_ATTACHMENTS", boolean, False),
    Setting("MAIL_MAX_EMAILS", whole(1, 1_000_000)),
    Setting("MAIL_TIMEOUT", seconds(0.1), 60),
    Setting("MAIL_DATA_TIMEOUT", seconds(0.1), 600),
    Setting("MAIL_DEADLINE", seconds(0.1), 600),
    Setting("MAIL_VALIDATE_CERTS", boolean, True),
    Setting("MAIL_CA_FILE", text),
    Setting("MAIL_CLIENT_CERT", text),
    Setting("MAIL_CLIENT_KEY", text),
    Setting("MAIL_LOCAL_HOSTNAME", text),
    Setting("MAIL_MESSAGE_ID_DOMAIN", text),
    Setting("MAIL_POOL_SIZE", whole(1, 100), 4),
    Setting("MAIL_POOL_IDLE", seconds(), 10),
    Setting("MAIL_COURIER", one_of("loop", "celery", "none"), "loop"),
    Setting("CELERY_BROKER_URL", text, secret=True),
    Setting("OUTBOX_LEASE", seconds(0.1), 30),
    Setting("OUTBOX_RENEW", seconds(0.01), 10),
    Setting("OUTBOX_POLL", seconds(0.01), 2),
    Setting("OUTBOX_RETRY_FIRST", seconds(0.01), 5),
    Setting("OUTBOX_RETRY_MAX", seconds(0.01), 300),
    Setting("OUTBOX_PROBE_FIRST", seconds(0.01), 2),
    Setting("OUTBOX_PROBE_MAX", seconds(0.01), 15),
    Setting("OUTBOX_DEADLINE", seconds(0.1), 60),
    Setting("OUTBOX_EXPIRY", seconds(1), 5 * DAY),
    Setting("OUTBOX_EXPIRY_MARGIN", seconds(), 60),
    Setting("OUTBOX_GRACE", seconds(), 10),
    Setting("OUTBOX_KEEP", seconds(), 14 * DAY),
)


def load(config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the value of every setting, those of `config` first; keys it does not know pass through.

    Raises SettingsError with one line for the first wrong or missing one.
    """
    given = dict(config or {})
    environment = from_environment()
    values = {setting.key: _value(setting, given, environment) for setting in SETTINGS}
    _fill_in(values)
    _check(values)
    return {**given, **values}


def from_environment() -> dict[str, str]:
    """Return what the environment and, behind it, the `.env` file of this directory give."""
    kept = {key: value for key, value in dotenv_values(".env").items() if value is not None}
    return {**kept, **os.environ}


def _value(setting: Setting, given: Mapping[str, Any], environment: Mapping[str, Any]) -> Any:
    keys = (setting.key, *setting.aliases)
    for key in keys:
        if key in given:
            return setting.parse(given[key])
    for key in keys:
        if environment.get(key):
            return setting.parse(environment[key])
    return setting.parse(setting.default)


def _fill_in(values: dict[str, Any]) -> None:
    """Give what production must name a value fit for this machine, under DEBUG and TESTING."""
    values["LOG_FORMAT"] = values["LOG_FORMAT"] or ("tall" if values["DEBUG"] else "text")
    if values["ACCESS_LOG"] is None:
        values["ACCESS_LOG"] = not (values["DEBUG"] or values["TESTING"])
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


def _kept_secret() -> str:
    """Return the key kept in `var/secret_key`, made at the first start: logins outlive a restart."""
    path = VAR / "secret_key"
    try:
        VAR.mkdir(mode=0o700, exist_ok=True)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(SECRET_KEY_BYTES))
        except FileExistsError:
            pass
        return path.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"SECRET_KEY: none was given and {path} cannot be used ({error.strerror}); "
            "give the setting, or let this directory be written."
        ) from None


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
    for key in (values["SECRET_KEY"], *values["SECRET_KEY_FALLBACKS"]):
        if key in KNOWN_KEYS or len(key.encode()) < SECRET_KEY_BYTES or len(set(key)) < 8:
            raise SettingsError(
                "SECRET_KEY: the value given is not accepted (known, too short or too plain); "
                f"give at least {SECRET_KEY_BYTES} random bytes."
            )
    if values["MAIL_USE_TLS"] and values["MAIL_USE_SSL"]:
        raise SettingsError(
            "MAIL_USE_TLS and MAIL_USE_SSL are both on; give one of them "
            "(TLS: STARTTLS, usually port 587; SSL: from the first byte, usually port 465)."
        )
    if values["MAIL_COURIER"] == "celery" and not values["CELERY_BROKER_URL"]:
        raise SettingsError(
            "CELERY_BROKER_URL is missing and MAIL_COURIER is celery; "
            "give the broker's address, such as redis://127.0.0.1:6379/0."
        )
