"""The reader's language: which one it is, choosing it, and broken catalogues."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from quart import Quart

from app import create_app
from app.web import languages
from app.web.languages import choose, choose_by_headers, find
from app.web.static import static_url
from app.web.templating import Blueprint
from tests.clients import Visitor, ask
from tests.factories import logged_in
from tests.inspection import statements_of


@pytest.fixture
def database_kind() -> str:
    """No language depends on the kind of database."""
    return "sqlite"


CODES = ("en", "ru", "es", "zh")
ENGLISH, RUSSIAN = '<html lang="en"', '<html lang="ru"'


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("es-MX", "es"),
        ("es-419, en;q=0.5", "es"),
        ("de, fr;q=0.9, ZH-Hant-TW;q=0.8", "zh"),
        ("en;q=0.2, ru;q=0.7", "ru"),
        ("ru; q=0.5 , es ;q=0.5", "ru"),
        ("de, *;q=0.1", "en"),
        ("*, en;q=0", "ru"),
        ("ru;q=0", "en"),
        ("", "en"),
        ("de", "en"),
        ("e", "en"),
        ("ru;q=2, \0;;,=, es;q=0.1", "es"),
    ],
)
def test_a_header_names_the_language_that_fits_best(header: str, code: str) -> None:
    assert choose(CODES, "", header) == code


def test_a_cookie_wins_over_the_header_if_it_names_a_language_of_the_site() -> None:
    assert choose(CODES, "zh", "ru") == "zh"
    assert choose(("ru", "en"), "zh", "de") == "ru"
    raw = [(b"Cookie", b"a=b; language=es; c=d"), (b"Accept-Language", b"ru")]
    assert choose_by_headers(CODES, raw) == "es"
    assert choose_by_headers(CODES, [(b"cookie", b"xlanguage=es"), raw[1]]) == "ru"


@pytest.mark.parametrize("text", ["a-" * 4096, "a," * 4096, "ru;q=" * 1700, "\t;q=0.9," * 1000, "é" * 8192])
async def test_long_and_senseless_headers_do_no_harm(app: Quart, text: str) -> None:
    answer = await ask(app, "GET", "/login", headers=[(b"accept-language", text.encode("latin1"))])
    assert answer.status == 200
    assert ENGLISH.encode() in answer.body
    cookie = f"language={text[:1000]}".encode("latin1")
    assert (await ask(app, "GET", "/login", headers=[(b"cookie", cookie)])).status == 200


async def test_a_language_is_chosen_in_the_footer_and_kept_in_a_cookie(app: Quart) -> None:
    visitor = Visitor(app)
    page = await visitor.get("/login?next=/explore%3Fa")
    assert ENGLISH in page.text
    for code, name in {"en": "English", "ru": "Русский", "es": "Español", "zh": "中文"}.items():
        pressed = "true" if code == "en" else "false"
        assert (
            f'<button name="language" value="{code}" lang="{code}" formaction="/language" aria-pressed="{pressed}">{name}</button>'
            in page.text
        )
    page = await visitor.submit("/language", page="/login", language="ru", next="/login?next=/explore%3Fa")
    assert (page.status, page.location) == (302, "/login?next=/explore%3Fa")
    cookie = page.response.headers["Set-Cookie"]
    assert all(word in cookie for word in ("language=ru", "HttpOnly", "SameSite=Lax", "Max-Age=31536000"))
    assert RUSSIAN in (await visitor.get("/login", headers={"Accept-Language": "es"})).text


async def test_a_view_that_does_not_ask_for_the_visitor_speaks_their_language(app: Quart) -> None:
    blueprint = Blueprint("new", __name__)

    @blueprint.get("/new")
    async def new() -> str:
        return languages.gettext("Home")

    app.register_blueprint(blueprint)
    susan, _ = await logged_in(app, "susan", language="ru")
    for visitor, text, count in ((susan, "Главная", 1), (Visitor(app), "Home", 0)):
        page, statements = await statements_of(visitor, "/new")
        assert (page.text, len(statements)) == (text, count)


async def test_files_and_checks_do_not_read_who_the_visitor_is(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    async with app.app_context():
        style = static_url("site.css")
    for path in (style, "/site.webmanifest", "/healthz"):
        page, statements = await statements_of(susan, path)
        assert (page.status, statements) == (200, [])


@pytest.mark.parametrize(
    ("language", "next_"), [("fr", "//evil.example"), ("", "https://e"), ("x" * 5000, "")]
)
async def test_made_up_languages_and_targets_change_nothing(app: Quart, language: str, next_: str) -> None:
    visitor = Visitor(app)
    page = await visitor.submit("/language", page="/login", language=language, next=next_)
    assert (page.status, page.location) == (302, "/")
    assert ENGLISH in (await visitor.get("/login")).text
    await visitor.post("/language", language="ru", csrf_token="stale")
    assert ENGLISH in (await visitor.get("/login")).text
    assert (await visitor.get("/language")).status == 405


async def test_wtforms_own_messages_are_in_the_language_of_the_page(app: Quart) -> None:
    async with app.test_request_context("/login", headers={"Accept-Language": "ru"}):
        assert languages.current().validators.gettext("This field is required.") == "Обязательное поле."


@pytest.mark.parametrize(
    ("code", "shown"),
    [("en", "1,234,567"), ("ru", "1\xa0234\xa0567"), ("es", "1.234.567"), ("zh", "1,234,567")],
)
def test_numbers_are_written_as_in_the_language(code: str, shown: str) -> None:
    assert find(code).number(1234567) == shown
    assert find(code).number(999) == "999"


NOON = datetime(2026, 11, 20, 12, 0, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("en", "20 Nov 2026, 12:00 UTC"),
        ("ru", "20 нояб. 2026\u202fг., 12:00 UTC"),
        ("es", "20 nov 2026, 12:00 UTC"),
        ("zh", "2026年11月20日 12:00 UTC"),
    ],
)
async def test_times_are_written_as_in_the_language(app: Quart, code: str, shown: str) -> None:
    async with app.test_request_context("/login", headers={"Accept-Language": code}):
        assert languages.written(NOON) == shown


@pytest.mark.parametrize(
    ("zone", "shown", "in_mails"),
    [
        ("Europe/Berlin", "20 Nov 2026, 13:00", "20 Nov 2026, 13:00 UTC+1"),
        ("Asia/Kolkata", "20 Nov 2026, 17:30", "20 Nov 2026, 17:30 UTC+5:30"),
        ("America/St_Johns", "20 Nov 2026, 08:30", "20 Nov 2026, 08:30 UTC-3:30"),
        ("Europe/Atlantis", "20 Nov 2026, 21:00 UTC+9", "20 Nov 2026, 21:00 UTC+9"),
        ("../../etc/passwd", "20 Nov 2026, 21:00 UTC+9", "20 Nov 2026, 21:00 UTC+9"),
        (None, "20 Nov 2026, 21:00 UTC+9", "20 Nov 2026, 21:00 UTC+9"),
    ],
)
async def test_times_are_in_the_readers_zone_or_name_that_of_the_site(
    app: Quart, zone: str | None, shown: str, in_mails: str
) -> None:
    app.config["TIMEZONE"] = "Asia/Tokyo"
    async with app.test_request_context("/login"):
        languages.use("en", zone)
        assert languages.written(NOON) == shown
        assert languages.written(NOON, with_offset=True) == in_mails


@pytest.fixture
def locales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of catalogues for this test."""
    monkeypatch.setattr(languages, "LOCALES", tmp_path)
    find.cache_clear()
    yield tmp_path
    find.cache_clear()


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"\x00\xff\xfe",
        b"",
        b"nonsense",
        b'msgid ""\nmsgstr "Plural-Forms: nplurals=9; plural=n(;\\n"\n',
    ],
)
async def test_a_missing_or_broken_catalogue_stops_the_start_with_one_line(
    config: dict[str, Any], locales: Path, content: bytes | None
) -> None:
    if content is not None:
        path = locales / "ru" / "LC_MESSAGES" / "messages.po"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stopped:
        create_app(config | {"LANGUAGES": "en,ru"})
    assert str(stopped.value).startswith(
        f"The translations in {locales}/ru/LC_MESSAGES/messages.po cannot be read: "
    )
    assert "\n" not in str(stopped.value)
