"""Pages and mails in all languages: nothing stays English, nothing breaks, and people get mail in their language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from babel.messages import Catalog
from babel.messages.pofile import write_po
from quart import Quart
from sqlalchemy import select, update

from app import mail, outbox
from app.accounts import emails
from app.accounts.models import User
from app.cli.translate import PLACEHOLDER, ShownTexts, messages_in_sources
from app.database import reading, writing
from app.mailer import render
from app.outbox.models import Delivery
from app.quart_mail import Message
from app.settings.parsing import known_languages
from app.web import languages
from tests.accounts.test_notices import CONTEXT, MAILS
from tests.clients import Page, Visitor, ask
from tests.conftest import SharedTemplates
from tests.factories import logged_in, make_follow, make_post, make_user
from tests.inspection import bodies

STRANGE_NAME = "<b>%(x)s"
GUEST_PAGES = (
    *("/", "/login", "/register", "/reset_password_request", "/hello", "/nowhere", "/language"),
    *("/index", "/reset_password/x"),  # these redirect to pages with a message
)
PAGES = (
    *("/index", "/explore", "/account", "/sessions", "/change_password", "/change_email", "/download_data"),
    *(
        "/delete_account",
        "/edit_profile",
        "/logout",
        "/hello",
        "/nowhere",
        "/user/susan",
        "/user/susan/followers",
    ),
    *("/user/susan/following", "/user/?name=%3Cb%3E%25(x)s", "/user/-/followers?name=%3Cb%3E%25(x)s"),
    *("/user/-/following?name=%3Cb%3E%25(x)s", "/post/1", "/post/1/delete", "/post/2", "/post/4"),
    *(f"/search?q={quote(words)}" for words in ("привет", "нет", "...", "я" * 201)),
)
FORMS = ("/register", "/login", "/reset_password_request", "/hello")
OWN_FORMS = (
    "/change_password",
    "/change_email",
    "/delete_account",
    "/edit_profile",
    "/index",
    "/post/1/reply",
)


@pytest.fixture
def database_kind() -> str:
    """No language depends on the kind of database."""
    return "sqlite"


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"FLASKY_ADMIN": "boss@example.com", "ADMINS": "root@example.com"}


FIRST_LETTERS = {"ru": "Ａａ", "es": "Ⓐⓐ"}


def disguised(text: str, code: str) -> str:
    """Return `text` in letters of another alphabet, except in placeholders and tags."""
    table = {
        ord(first) + n: ord(letter) + n
        for first, letter in zip("Aa", FIRST_LETTERS[code], strict=True)
        for n in range(26)
    }
    parts = re.split(f"({PLACEHOLDER.pattern})", text)
    return "".join(part if n % 2 else part.translate(table) for n, part in enumerate(parts))


@cache
def catalogue(code: str) -> Catalog:
    """Return a catalogue in which every message is translated by `disguised`."""
    catalog = Catalog(code, fuzzy=False)
    for message in messages_in_sources():
        if not message.id:
            continue
        if isinstance(message.id, str):
            translation: Any = disguised(message.id, code)
        else:
            translation = [disguised(message.id[1], code)] * catalog.num_plurals
        catalog.add(message.id, translation, context=message.context)
    return catalog


@pytest.fixture
def disguises(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace the Russian and Spanish catalogues, so that a test can tell them from English at each letter."""
    for code in FIRST_LETTERS:
        path = tmp_path / code / "LC_MESSAGES" / "messages.po"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            write_po(file, catalogue(code))
    config["LANGUAGES"] = "en,ru,es"
    monkeypatch.setattr(languages, "LOCALES", tmp_path)
    monkeypatch.setattr(SharedTemplates, "compiled", {})
    languages.find.cache_clear()
    yield
    languages.find.cache_clear()


def english(page: str) -> set[str]:
    """Return the English words on a page, except names, addresses and times."""
    page = re.sub(r"<(time|datalist|svg)\b.*?</\1>", "", page, flags=re.DOTALL)
    text = " ".join(ShownTexts(page).texts)
    words = re.findall("[A-Za-z]{2,}", re.sub(r"\S+@\S+|http\S+|%\(x\)s|Español", "", text))
    return set(words) - {"English", "susan", "david", "Microblog"}


async def pages(app: Quart, code: str) -> list[tuple[str, Page]]:
    """Return every page of the site, and every form as it is after an error, in a language."""
    susan, susan_id = await logged_in(app, "susan", language=code, about_me="\n" * 30 + "я")
    strange = await make_user(STRANGE_NAME)
    david = await make_user("david")
    await make_follow(strange, susan_id)
    await make_follow(susan_id, strange)
    await make_post(susan_id, "привет" + "\n" * 12 + "я")
    await make_post(strange, "привет")
    await make_post(david, "привет", minute=1)
    await susan.submit("/post/1/reply", page="/index", post="да")
    found = []
    guest = Visitor(app)
    await guest.submit("/language", page="/login", language=code)
    visits: list[tuple[Visitor, Sequence[str]]] = [(guest, GUEST_PAGES), (susan, PAGES)]
    for visitor, paths in visits:
        for path in paths:
            found.append((path, page := await visitor.get(path)))
            if page.location:
                found.append((page.location, await visitor.get(page.location)))
    forms: list[tuple[Visitor, Sequence[str]]] = [(guest, FORMS), (susan, OWN_FORMS)]
    for visitor, paths in forms:
        for path in paths:
            known = path.replace("/reply", "")
            wrong = {
                "username": "я" * 300,
                "email": "я",
                "password": "1",
                "password2": "2",
                "name": "1",
                "post": "",
            }
            found.append((path, await visitor.submit(path, page=known, **wrong)))
            found.append((path, await visitor.post(path, csrf_token="stale")))
    for path in ("/follow/david", "/unfollow/david", "/follow/susan", "/follow/?name=david2"):
        page = await susan.submit(path, page="/index")
        found.append((path, await susan.get(page.location or "/")))
    return found


@pytest.mark.parametrize("code", known_languages())
async def test_every_page_is_there_in_every_language(app: Quart, code: str) -> None:
    for path, page in await pages(app, code):
        if page.status == 302:
            continue
        assert page.status in (200, 400, 404, 405), (path, page.text)
        assert f'<html lang="{code}"' in page.text, path
        assert "<b>%" not in page.text, path
        assert "%(" not in re.sub(r"%\(x\)s", "", page.text), path


async def test_no_page_holds_a_text_that_is_not_translated(disguises: None, app: Quart) -> None:
    shown = [(path, page) for path, page in await pages(app, "ru") if page.status != 302]
    left = {path: words for path, page in shown if (words := english(page.text) - {"num"})}
    assert not left


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in MAILS.glob("[a-z]*.txt") if path.stem != "error_report")
)
async def test_no_mail_holds_a_text_that_is_not_translated(disguises: None, app: Quart, name: str) -> None:
    context = CONTEXT | {"username": STRANGE_NAME, "device": "", "names": ["susan"], "count": 3, "more": 2}
    with languages.speaking(languages.find("ru")):
        message = await render("susan@example.com", "-", f"email/{name}", **context)
    text, rich = bodies(message)
    assert english(rich) <= {"UTC"}
    assert english(text.replace(STRANGE_NAME, "").replace("FLASKY_ADMIN", "")) <= {"UTC"}
    assert '<html lang="ru"' in rich
    assert "<b>%" not in rich
    if name != "new_user":
        assert f"Ｄｅａｒ {STRANGE_NAME}," in text


async def test_error_pages_made_before_the_app_are_in_the_language_of_the_headers(
    disguises: None, app: Quart
) -> None:
    for code in ("ru", "en", "es"):
        headers = [(b"accept-language", code.encode()), (b"content-type", b"x" * 300)]
        answer = await ask(app, "POST", "/login", headers=headers, body=[b"x"])
        assert answer.status == 400
        assert f'<html lang="{code}"'.encode() in answer.body
        assert bool(english(answer.body.decode())) is (code == "en")


async def test_the_account_s_language_comes_first_then_the_cookie_s_then_the_browser_s(app: Quart) -> None:
    spanish = {"Accept-Language": "es"}
    susan, user_id = await logged_in(app, "susan")
    assert '<html lang="es"' in (await susan.get("/index", headers=spanish)).text
    await susan.submit("/language", page="/index", language="ru", next="/index")
    assert '<html lang="ru"' in (await susan.get("/index", headers=spanish)).text
    await set_language(user_id, "zh")
    assert '<html lang="zh"' in (await susan.get("/index", headers=spanish)).text
    await set_language(user_id, "xx")  # not of this site
    assert '<html lang="ru"' in (await susan.get("/index", headers=spanish)).text
    await set_language(user_id, "zh")
    await susan.submit("/logout")
    assert '<html lang="ru"' in (await susan.get("/login", headers=spanish)).text


async def set_language(user_id: int, code: str | None) -> None:
    async with writing() as session:
        await session.execute(update(User).where(User.id == user_id).values(language=code))


async def test_choosing_a_language_is_stored_in_the_account(app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    await susan.submit("/language", page="/index", language="zh", next="/index")
    other = Visitor(app)
    await other.log_in("susan")
    assert '<html lang="zh"' in (await other.get("/index")).text


async def test_registration_stores_the_language_of_the_page(app: Quart) -> None:
    guest = Visitor(app)
    await guest.submit("/language", page="/login", language="es")
    await guest.register("susan")
    other = Visitor(app)
    await other.log_in("susan")
    assert '<html lang="es"' in (await other.get("/index", headers={"Accept-Language": "ru"})).text


async def test_people_to_follow_change_their_language_at_once(disguises: None, app: Quart) -> None:
    susan, _ = await logged_in(app, "susan")
    await make_post(await make_user("david"), "привет")
    for code in ("en", "ru", "en"):
        await susan.submit("/language", page="/explore", language=code)
        page = await susan.get("/explore")
        assert bool(english(page.text)) is (code == "en")


async def delivered() -> list[Message]:
    with mail.record_messages() as sent:
        await outbox.drain()
    return list(sent)


def language_of(message: Message) -> str:
    """Return the language in which all of `message` is written."""
    text, rich = bodies(message)
    code = rich.partition('<html lang="')[2].partition('"')[0]
    start = disguised("Dear ", code) if code != "en" else "Dear "
    assert text.startswith(start)
    subject = str(message.subject).removeprefix("[Microblog] ")
    assert bool(english(subject)) is (code == "en")
    return code


@pytest.mark.parametrize(("own", "expected"), [("ru", "ru"), (None, "es"), ("xx", "es")])
async def test_a_mail_is_in_the_language_of_its_reader(
    disguises: None, app: Quart, own: str | None, expected: str
) -> None:
    await make_user("susan", language=own, email_confirmed=True)
    spaniard = Visitor(app)
    await spaniard.submit("/language", page="/login", language="es")
    await spaniard.submit("/reset_password_request", email="susan@example.com")
    [message] = await delivered()
    assert language_of(message) == expected
    link = re.findall(r"http://\S+(/reset_password/\S+)", bodies(message)[0])[0]
    await spaniard.submit(link, password="brass lantern", password2="brass lantern")
    [message] = await delivered()
    assert language_of(message) == expected


async def test_devices_are_described_in_the_language_of_the_reader(disguises: None, app: Quart) -> None:
    user_id = await make_user("susan", language="ru")
    async with writing() as session:
        await emails.PasswordChanged(user_id, "Firefox on an iPhone").post(session)
    [message] = await delivered()
    assert f"Firefox {disguised('on', 'ru')} {disguised('an iPhone', 'ru')}" in bodies(message)[0]


async def test_a_mail_stored_by_an_older_version_is_in_the_site_s_language(
    disguises: None, app: Quart
) -> None:
    user_id = await make_user("susan")
    async with writing() as session:
        await outbox.post(session, "password_changed", user_id=user_id, device="")
    [message] = await delivered()
    assert language_of(message) == "en"


async def test_the_administrator_reads_the_site_s_language(disguises: None, app: Quart) -> None:
    guest = Visitor(app)
    await guest.submit("/language", page="/login", language="ru")
    await guest.register("susan")
    sent = {message.recipients[0]: message for message in await delivered()}
    assert language_of(sent["susan@example.com"]) == "ru"
    assert sent["boss@example.com"].subject == "[Microblog] New User"
    assert "User susan has joined." in bodies(sent["boss@example.com"])[0]
    assert '<html lang="en"' in bodies(sent["boss@example.com"])[1]


async def test_known_and_unknown_addresses_store_the_same(app: Quart) -> None:
    await make_user("susan", language="ru")
    spaniard = Visitor(app)
    await spaniard.submit("/language", page="/login", language="es")
    for address in ("susan@example.com", "nobody@example.com"):
        await spaniard.submit("/reset_password_request", email=address)
    async with reading() as connection:
        rows = (await connection.execute(select(Delivery.params).order_by(Delivery.id))).scalars().all()
    assert [row | {"address": ""} for row in rows] == [{"address": "", "language": "es"}] * 2


async def test_language_and_time_zone_are_chosen_in_the_profile(app: Quart) -> None:
    susan, user_id = await logged_in(app, "susan")
    page = await susan.get("/edit_profile")
    assert '<option value="" selected>Automatic</option>' in page.text
    assert '<option value="ru" lang="ru">Русский</option>' in page.text
    for sent, stored in {
        "Europe/Madrid": "Europe/Madrid",
        " asia/ho chi minh": "Asia/Ho_Chi_Minh",
        "UTC": "UTC",
    }.items():
        page = await susan.submit(
            "/edit_profile", username="susan", about_me="", language="es", timezone=sent
        )
        assert page.location == "/edit_profile"
        assert await settings_of(user_id) == ("es", stored)
    page = await susan.get("/edit_profile")
    assert '<html lang="es"' in page.text
    assert '<option value="es" lang="es" selected>' in page.text
    assert 'value="UTC"' in page.text
    await susan.submit("/edit_profile", username="susan", about_me="I keep bees")
    assert await settings_of(user_id) == ("es", "UTC")
    await susan.submit("/edit_profile", username="susan", about_me="", language="", timezone="")
    assert await settings_of(user_id) == (None, None)
    assert '<html lang="en"' in (await susan.get("/edit_profile")).text


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "America", "../../etc/passwd", "\0", "x" * 5000])
async def test_what_is_no_time_zone_is_refused(app: Quart, zone: str) -> None:
    susan, user_id = await logged_in(app, "susan")
    page = await susan.submit("/edit_profile", username="susan", about_me="", language="fr", timezone=zone)
    assert page.errors("timezone") == ["Please choose a time zone from the list, such as Europe/Madrid."]
    assert page.errors("language") == ["Not a valid choice."]
    assert await settings_of(user_id) == (None, None)


async def settings_of(user_id: int) -> tuple[str | None, str | None]:
    async with reading() as connection:
        row = (await connection.execute(select(User.language, User.timezone).where(User.id == user_id))).one()
    return row.language, row.timezone
