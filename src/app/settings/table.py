"""The table of all settings: key, parser, default, older names; times are in seconds.

`docs/mail.md` describes the `MAIL_*` settings.
"""

from dataclasses import replace

from app.quart_mail.settings import SETTINGS as MAIL_SETTINGS
from app.quart_mail.settings import Setting, boolean
from app.settings import parsing
from app.settings.parsing import one_of, seconds, text, whole

HOUR = 3600
DAY = 24 * HOUR
_MAIL_SETTINGS = [replace(setting, default=None) for setting in MAIL_SETTINGS.values()]
"""Those of quart_mail, which fills in the defaults itself."""

REPLACED = {
    "MS_TRANSLATOR_KEY": "posts are not translated",
    "ELASTICSEARCH_URL": "the database is searched",
    "REDIS_URL": "the site works in the background without Redis",
    "LOG_TO_STDOUT": "the log is written to standard error",
    "SERVER_NAME": "BASE_URL is used",
}
"""Settings of Microblog v0.14 to v0.23 that have no effect here, and what applies instead."""

SETTINGS = (
    Setting("DEBUG", boolean, False),  # for development on this machine
    Setting("TESTING", boolean, False),  # for the tests of this site
    Setting("SECRET_KEY", text, is_secret=True),  # signs cookies and links
    Setting("SECRET_KEY_FALLBACKS", parsing.words, (), is_secret=True),  # former keys that are still accepted
    Setting("DATABASE_URL", parsing.database, "sqlite:///var/microblog.db", is_secret=True),
    Setting("BASE_URL", parsing.origin),  # the address people use
    Setting("TRUSTED_HOSTS", parsing.hosts, ()),  # names the site answers to, besides that of BASE_URL
    Setting("TRUSTED_PROXIES", whole(0, 10), 0),  # how many proxies' X-Forwarded-* headers are believed
    Setting("ADMINS", parsing.addresses, ()),  # get the error reports
    Setting("FLASKY_ADMIN", parsing.address),  # gets a mail about new users
    Setting("MAX_CONTENT_LENGTH", whole(10_000, 2**40), 2**20),  # bytes of a request's body
    Setting("MAX_FORM_PARTS", whole(20, 1_000_000), 1000),  # fields of a form
    Setting("MAX_URL_LENGTH", whole(500, 1_000_000), 8000),  # characters of path and query
    Setting("BODY_TIMEOUT", seconds(0.1), 15),  # for a request's body to arrive
    Setting("SEND_TIMEOUT", seconds(0.1, HOUR), 10),  # for a client to take any of its response
    Setting("MAX_REQUESTS", whole(1, 1_000_000), 300),  # in progress at once; more are answered 503
    Setting("LOG_FORMAT", one_of("text", "json", "tall")),  # tall under DEBUG, else text
    Setting("ACCESS_LOG", boolean),  # log every request; off under DEBUG
    Setting("LANGUAGES", parsing.languages, "en,ru,es,zh"),  # the first where nothing else matches
    Setting("TIMEZONE", parsing.time_zone, "UTC"),  # of people who have not chosen one
    Setting("POSTS_PER_PAGE", whole(1, 500), 25),
    Setting("AVATARS", one_of("local", "gravatar"), "local"),  # where avatars come from
    Setting("PASSWORD_MIN_LENGTH", whole(1, 128), 8),  # characters
    Setting("PASSWORD_HASH_METHOD", parsing.hash_method, parsing.DEFAULT_HASH_METHOD),
    Setting("PASSWORD_PROCESSES", whole(0, 64), 2),  # 0: hash in the site's own process
    Setting("RESET_TOKEN_SECONDS", seconds(60, DAY), 600),  # how long a reset link works
    Setting("CONFIRM_EMAIL", boolean, False),  # ask new users to confirm their address
    Setting("SESSION_IDLE_SECONDS", seconds(60), 12 * HOUR),  # until an unused login ends
    Setting("SESSION_SECONDS", seconds(60), 7 * DAY),  # until a login ends
    Setting("REMEMBER_SECONDS", seconds(60), 30 * DAY),  # until a remembered login ends
    Setting("RATELIMIT_ENABLED", boolean, True),
    Setting("RATELIMIT_STORAGE_URI", parsing.counters, "memory", is_secret=True),  # where limits are counted
    *(setting for setting in _MAIL_SETTINGS if setting.key != "MAIL_DEFAULT_SENDER"),
    # quart_mail also accepts local user names such as "root":
    Setting("MAIL_DEFAULT_SENDER", parsing.sender, aliases=("FLASKY_MAIL_SENDER",)),
    Setting("MAIL_SUBJECT_PREFIX", text, "[Microblog]", ("FLASKY_MAIL_SUBJECT_PREFIX",)),
    Setting("MAIL_COURIER", one_of("loop", "celery", "none"), "loop"),  # what delivers the mail
    Setting("CELERY_BROKER_URL", parsing.broker, is_secret=True),
    Setting("OUTBOX_LEASE", seconds(0.1, DAY), 30),  # how long a claim on a mail is valid
    Setting("OUTBOX_RENEW", seconds(0.01), 10),  # how often a claim is renewed
    Setting("OUTBOX_POLL", seconds(0.01), 2),  # how often other processes' mail is looked for
    Setting("OUTBOX_RETRY_FIRST", seconds(0.01), 5),  # before the second attempt; then doubled
    Setting("OUTBOX_RETRY_MAX", seconds(0.01, DAY), 300),  # at most between attempts
    Setting("OUTBOX_PROBE_FIRST", seconds(0.01), 2),  # before a broken mail server is tried again
    Setting("OUTBOX_PROBE_MAX", seconds(0.01, DAY / 2), 15),  # at most between these probes
    Setting("OUTBOX_DEADLINE", seconds(0.1), 60),  # for an attempt up to the final dot
    Setting("OUTBOX_REPLY_TIMEOUT", seconds(0.1, HOUR), 300),  # for the reply to the final dot
    Setting("OUTBOX_RESET_DELAY", seconds(0, HOUR / 60)),  # the longest random delay of a reset mail
    Setting("OUTBOX_EXPIRY", seconds(1), 5 * DAY),  # after that a mail is no longer sent
    Setting("OUTBOX_EXPIRY_MARGIN", seconds(0, HOUR / 2)),  # other links are valid for an hour or more
    Setting("OUTBOX_GRACE", seconds(), 10),  # for requests and mails in progress at shutdown
    Setting("OUTBOX_KEEP", seconds(), 14 * DAY),  # until the rows of finished mails are deleted
)
