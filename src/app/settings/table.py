"""The table of all settings; `docs/mail.md` describes the `MAIL_*` settings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.quart_mail.settings import SETTINGS as MAIL_SETTINGS
from app.settings import parsing
from app.settings.parsing import Parser, boolean, one_of, seconds, text, whole

HOUR = 3600
DAY = 24 * HOUR


class SettingsError(ValueError):
    """A setting is wrong or missing; the message is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its key, parser, default and older names; a `secret` value is never shown.

    `may_be_empty`: an empty environment variable is a value of its own instead of meaning the default.
    """

    key: str
    parser: Parser
    default: Any = None
    aliases: tuple[str, ...] = ()
    secret: bool = False
    may_be_empty: bool = False

    def parse(self, raw: Any) -> Any:
        """Return the typed value; raise SettingsError with the key, the value and what is accepted."""
        if raw is None:
            return None
        try:
            return self.parser(raw)
        except (ValueError, TypeError):
            value = "the value given" if self.secret else repr(raw)
            raise SettingsError(f"{self.key}: {value} is not accepted; give {self.parser.accepts}.") from None


def _mail_settings() -> Iterator[Setting]:
    """Yield the mail extension's settings, unparsed: it parses them itself, after the defaults are filled in.

    Only the sender is checked here, because quart_mail also accepts local user names such as "root".
    """
    unparsed = Parser(lambda raw: raw, "")
    for setting in MAIL_SETTINGS.values():
        if setting.key == "MAIL_DEFAULT_SENDER":
            yield Setting(setting.key, parsing.sender, aliases=("FLASKY_MAIL_SENDER",))
        else:
            yield Setting(setting.key, unparsed, aliases=setting.aliases, secret=setting.is_secret)


SETTINGS = (
    Setting("DEBUG", boolean, False),
    Setting("TESTING", boolean, False),
    Setting("SECRET_KEY", text, secret=True),
    Setting("SECRET_KEY_FALLBACKS", parsing.words, (), secret=True),
    Setting("DATABASE_URL", parsing.database, "sqlite:///var/microblog.db", secret=True),
    Setting("BASE_URL", parsing.origin),
    Setting("TRUSTED_HOSTS", parsing.hosts, ()),
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
    Setting("AVATARS", one_of("local", "gravatar"), "local"),
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
    *_mail_settings(),
    Setting("MAIL_SUBJECT_PREFIX", text, "[Microblog]", ("FLASKY_MAIL_SUBJECT_PREFIX",), may_be_empty=True),
    Setting("MAIL_COURIER", one_of("loop", "celery", "none"), "loop"),
    Setting("CELERY_BROKER_URL", parsing.broker, secret=True),
    Setting("OUTBOX_LEASE", seconds(0.1, DAY), 30),
    Setting("OUTBOX_RENEW", seconds(0.01), 10),
    Setting("OUTBOX_POLL", seconds(0.01), 2),
    Setting("OUTBOX_RETRY_FIRST", seconds(0.01), 5),
    Setting("OUTBOX_RETRY_MAX", seconds(0.01, DAY), 300),
    Setting("OUTBOX_PROBE_FIRST", seconds(0.01), 2),
    Setting("OUTBOX_PROBE_MAX", seconds(0.01, DAY / 2), 15),
    Setting("OUTBOX_DEADLINE", seconds(0.1), 60),
    Setting("OUTBOX_REPLY_TIMEOUT", seconds(0.1, HOUR), 300),
    Setting("OUTBOX_RESET_DELAY", seconds(0, HOUR / 60)),
    Setting("OUTBOX_EXPIRY", seconds(1), 5 * DAY),
    Setting("OUTBOX_EXPIRY_MARGIN", seconds(0, HOUR / 2)),  # other links are valid for an hour or more
    Setting("OUTBOX_GRACE", seconds(), 10),
    Setting("OUTBOX_KEEP", seconds(), 14 * DAY),
)
