"""The reader's language: which one it is, its texts, numbers and times.

The texts in the source code are English and are passed to `gettext` and its relatives. Templates use
`{% trans %}` or functions of the same names (see `app.web.templating`), for which a message is markup and
what is put into it is escaped. Texts of modules and classes are made with `lazy_gettext`, which looks its
text up each time it is shown.

The catalogues of the other languages are read when a process starts, so there is nothing to compile. The
command `microblog translate` keeps them in step with the source code.
"""

import gettext as standard_gettext
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from typing import Any, cast
from zoneinfo import ZoneInfo

import werkzeug
from babel import Locale
from babel.dates import format_date, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal
from babel.support import LazyProxy, Translations
from markupsafe import Markup, escape
from quart import Quart, current_app, has_app_context, has_request_context, request
from wtforms.i18n import messages_path

from app.settings.parsing import LOCALES, SOURCE_LANGUAGE

COOKIE = "language"
COOKIE_SECONDS = 365 * 86400
MAX_HEADER_LENGTH = 1000  # characters of Accept-Language that are read; browsers send about 40
CACHED_HEADERS = 1000
CACHED_TIMES = 10_000
CACHED_ZONES = 1000
LENGTH_TO_MINUTE = len("2026-11-20T12:05")
DATE_LOCALES = {SOURCE_LANGUAGE: "en_150"}  # English outside America: 20 Nov 2026, 13:05
GROUPED_FROM = 1000  # smaller numbers are the same in all languages

ACCEPTED = re.compile(
    r"\s*([a-z]{1,8}|\*)(?:-[a-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?", re.I
)
"""A part of Accept-Language: the language, without script and country, and its weight (RFC 9110 12.5.4)."""
COOKIE_VALUE = re.compile(rf"(?:^|;)\s*{COOKIE}=([a-zA-Z-]{{1,16}})(?=;|$)".encode())


class Language:
    """A language of the site. `name`: its own name for itself, such as "Español"."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.locale = Locale.parse(code)
        self.dates = Locale.parse(DATE_LOCALES.get(code, code))
        name = self.locale.get_language_name(code) or code
        self.name = name[0].upper() + name[1:]
        self.texts = Translations() if code == SOURCE_LANGUAGE else _read_catalogue(code)
        self.validators = standard_gettext.translation("wtforms", messages_path(), [code], fallback=True)

    def number(self, value: int) -> str:
        """Return `value` as it is written in this language, such as "12,345"."""
        is_small = -GROUPED_FROM < value < GROUPED_FROM
        return str(value) if is_small else format_decimal(value, locale=self.locale)

    def time(self, value: datetime) -> str:
        """Return `value` as it is written in this language, such as "20 Nov 2026, 13:05"."""
        date, time = format_date(value, locale=self.dates), format_time(value, "short", locale=self.dates)
        return str(self.dates.datetime_formats["medium"]).replace("{1}", date).replace("{0}", time)

    def fill(self, text: str, variables: dict[str, Any]) -> str:
        """Return `text`, which may be markup, with variables in place of its `%(name)s`."""
        return text % {
            name: self.number(value) if type(value) is int else value for name, value in variables.items()
        }


def _read_catalogue(code: str) -> Translations:
    path = LOCALES / code / "LC_MESSAGES" / "messages.po"
    compiled = BytesIO()
    try:
        with path.open("rb") as file:
            catalog = read_po(file, locale=code, abort_invalid=True)
        if not len(catalog):
            raise ValueError("it holds no messages")
        write_mo(compiled, catalog)
        compiled.seek(0)
        return Translations(cast(Any, compiled))
    except (OSError, ValueError, LookupError, PoFileError) as error:
        reason = " ".join(str(error).split())
        raise SystemExit(f"The translations in {path} cannot be read: {reason}") from None


find = cache(Language)
"""Return the language with a code; exits with one line if its catalogue, read once per process, is broken."""

_current: ContextVar[Language | None] = ContextVar("language", default=None)
_timezone: ContextVar[str | None] = ContextVar("timezone", default=None)  # the reader's own


def init_app(app: Quart) -> None:
    """Read the catalogues of LANGUAGES, and let templates use them."""
    languages = [(code, find(code).name) for code in app.config["LANGUAGES"]]
    time_zones()  # reads a file, which no request should wait for
    app.jinja_env.globals.update(language=current, languages=languages, timezone=timezone)
    app.jinja_env.filters.update(number=number, written=written)


def current() -> Language:
    """Return the language of the reader of this page or mail."""
    language = _current.get()
    if language is None:
        if not has_app_context():
            return find(SOURCE_LANGUAGE)
        codes: tuple[str, ...] = current_app.config["LANGUAGES"]
        if not has_request_context():
            return find(codes[0])
        header = request.headers.get("Accept-Language", "")
        language = find(choose(codes, request.cookies.get(COOKIE, ""), header))
        _current.set(language)
    return language


def of(code: str | None) -> Language:
    """Return the language with `code`, or the first of LANGUAGES if the site does not have it."""
    codes = current_app.config["LANGUAGES"]
    return find(code if code in codes else codes[0])


def use(code: str | None, timezone: str | None = None) -> None:
    """Switch to the language with `code` if the site has it, and to `timezone`; to no zone if it is none."""
    if code in current_app.config["LANGUAGES"]:
        _current.set(find(code))
    _timezone.set(timezone if timezone and find_zone(timezone) else None)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Use `language` for what is rendered in this block, such as a mail, and nobody's own time zone."""
    token, zone = _current.set(language), _timezone.set(None)
    try:
        yield
    finally:
        _current.reset(token)
        _timezone.reset(zone)


def timezone() -> str:
    """Return the reader's own time zone, "" if it is not known."""
    return _timezone.get() or ""


def remember(response: werkzeug.Response, code: str) -> None:
    """Store a visitor's choice in a cookie; "" stands for no choice."""
    if not code:
        response.delete_cookie(COOKIE)
        return
    secure = current_app.config["SESSION_COOKIE_SECURE"]
    response.set_cookie(COOKIE, code, COOKIE_SECONDS, secure=secure, httponly=True, samesite="Lax")


def choose(codes: tuple[str, ...], cookie: str, header: str) -> str:
    """Return the one of `codes` for a visitor with this cookie and this Accept-Language header."""
    return cookie if cookie in codes else _best_match(codes, header[:MAX_HEADER_LENGTH])


def choose_by_headers(codes: tuple[str, ...], headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the one of `codes` for a request with these raw headers, in linear time."""
    values = {name.lower(): value for name, value in headers}
    cookie = COOKIE_VALUE.search(values.get(b"cookie", b""))
    header = values.get(b"accept-language", b"").decode("latin1")
    return choose(codes, cookie[1].decode() if cookie else "", header)


@lru_cache(CACHED_HEADERS)
def _best_match(codes: tuple[str, ...], header: str) -> str:
    matches = [match for part in header.split(",") if (match := ACCEPTED.fullmatch(part))]
    weights = [(match[1].lower(), float(match[2] or 1)) for match in matches]
    refused = {language for language, weight in weights if not weight}
    for language, _ in sorted(weights, key=lambda pair: -pair[1]):
        for code in codes:
            if language in (code, "*") and code not in refused:
                return code
    return codes[0]


def gettext(message: str, /, **variables: Any) -> str:
    """Return `message` in the current language, with `variables` in place of its `%(name)s`."""
    language = current()
    text: str = language.texts.gettext(message)
    return language.fill(text, variables) if variables else text


def ngettext(singular: str, plural: str, num: int, /, **variables: Any) -> str:
    """Return the form for `num`, which takes the place of `%(num)s`."""
    language = current()
    text: str = language.texts.ngettext(singular, plural, num)
    return language.fill(text, {"num": num, **variables})


class LazyText(LazyProxy):
    """A text that is looked up each time it is shown."""

    def __html__(self) -> Markup:
        """Return the text escaped, in a third of the time in which `escape` finds that there is no markup."""
        return escape(self.value)


def lazy_gettext(message: str) -> str:
    """Return an object that is shown as `message` in the language current at that time."""
    return cast(str, LazyText(gettext, message, enable_cache=False))


def lazy_pgettext(context: str, message: str) -> str:
    """Like `lazy_gettext`; `context` tells apart messages that are the same only in English."""
    return cast(str, LazyText(lambda: current().texts.pgettext(context, message), enable_cache=False))


@cache
def time_zones() -> dict[str, str]:
    """Return the IANA names of all time zones by the same names in lower case."""
    names = files("tzdata").joinpath("zones").read_text("ascii").splitlines()
    return {name.lower(): name for name in names}


def number(value: int) -> str:
    """Return `value` as it is written in the current language."""
    return current().number(value)


@lru_cache(CACHED_ZONES)
def find_zone(name: str) -> ZoneInfo | None:
    """Return the time zone with an IANA name, None if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, no name at all, or that of a directory
        return None


def written(time: datetime, *, with_offset: bool = False) -> str:
    """Return `time` in the current language and the reader's time zone, such as "20 Nov 2026, 13:05".

    A reader whose zone is not known gets that of TIMEZONE, with its offset: "20 Nov 2026, 13:05 UTC+1".
    """
    return writer(with_offset=with_offset)(time.astimezone(UTC).isoformat())


def writer(*, with_offset: bool = False) -> Callable[[str], str]:
    """Return a function that writes as `written` does, for many times given in ISO 8601 and UTC."""
    code, zone = current().code, timezone()
    if not zone:
        zone, with_offset = current_app.config["TIMEZONE"], True
    return lambda stamp: _written(stamp[:LENGTH_TO_MINUTE], code, zone, with_offset)


@lru_cache(CACHED_TIMES)  # 10 times as fast as to write it anew
def _written(stamp: str, code: str, zone: str, with_offset: bool) -> str:
    local = datetime.fromisoformat(stamp).replace(tzinfo=UTC).astimezone(find_zone(zone))
    text = find(code).time(local)
    if not with_offset:
        return text
    offset = f"{local:%z}"
    sign, hours, minutes = offset[0], int(offset[1:3]), offset[3:5]
    if not hours and minutes == "00":
        return f"{text} UTC"
    return f"{text} UTC{sign}{hours}" + (f":{minutes}" if minutes != "00" else "")
