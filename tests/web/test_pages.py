"""All pages: errors, static files and form fields."""

from __future__ import annotations

import re
from typing import NoReturn

import pytest
from quart import Quart, abort

from app.database import DatabaseUnavailable
from app.greeting import NameForm
from app.migrations import run as migrations
from app.posts.routes import PostForm
from app.profiles.routes import EditProfileForm
from app.web.forms import Form
from tests.clients import Visitor
from tests.factories import logged_in
from tests.inspection import database_of

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


async def test_static_files_have_their_digest_in_their_name_and_stay_cached(app: Quart) -> None:
    page = await Visitor(app).get("/login")
    url = page.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    response = await app.test_client().get(url)
    assert response.status_code == 200
    assert response.content_type == "text/css; charset=utf-8"
    assert "immutable" in response.headers["Cache-Control"]
    assert (await app.test_client().get("/static/site.css")).status_code == 404


LONG = "s" * 65
LONG_ADDRESS = f"{'s' * 60}@{'example.' * 7}org"
assert len(LONG_ADDRESS) == 120


@pytest.mark.parametrize(
    ("path", "field", "value", "message"),
    [
        ("/register", "username", LONG, "Too long by 1: at most 64 characters."),
        ("/register", "email", f"s{LONG_ADDRESS}", "Too long by 1: at most 120 characters."),
        ("/reset_password_request", "email", f"s{LONG_ADDRESS}", "Too long by 1: at most 120 characters."),
        ("/login", "username", "s" * 257, "Too long by 1: at most 256 characters."),
        ("/hello", "name", LONG, "Too long by 1: at most 64 characters."),
        ("/edit_profile", "username", LONG, "Too long by 1: at most 64 characters."),
        ("/change_email", "email", f"s{LONG_ADDRESS}", "Too long by 1: at most 120 characters."),
    ],
)
async def test_fields_that_are_too_long_are_not_cut_but_refused(
    app: Quart, path: str, field: str, value: str, message: str
) -> None:
    is_mine = path in {"/edit_profile", "/change_email"}
    visitor = (await logged_in(app, "susan"))[0] if is_mine else Visitor(app)
    content = (await visitor.get(path)).text.partition("<main")[2]
    assert not re.search("maxlength|minlength", content)
    page = await visitor.submit(path, **{field: value})
    assert page.errors(field) == [message]
    assert f'value="{value}"' in page.text


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing/here", 404, "Not Found"),
        ("GET", "/%ff%fe/%00", 404, "Not Found"),
        ("PUT", "/login", 405, "This page cannot be opened directly."),
    ],
)
async def test_errors_have_pages_in_the_sites_layout(
    app: Quart, method: str, path: str, status: int, words: str
) -> None:
    response = await Visitor(app).client.open(path, method=method)
    text = await response.get_data(as_text=True)
    assert response.status_code == status
    assert words in text
    assert 'class="brand"' in text


async def test_an_error_without_a_page_of_its_own_is_in_the_readers_language(app: Quart) -> None:
    @app.get("/teapot")
    async def teapot() -> NoReturn:
        abort(418)

    response = await app.test_client().get("/teapot", headers={"Accept-Language": "ru"})
    text = await response.get_data(as_text=True)
    assert response.status_code == 418
    assert "<h1>Запрос не\xa0выполнен</h1>" in text
    assert "Teapot" not in text


async def test_a_405_lists_the_allowed_methods(app: Quart) -> None:
    response = await app.test_client().put("/login")
    assert {"GET", "POST", "HEAD", "OPTIONS"} == set(response.headers["Allow"].split(", "))


async def test_an_unhandled_error_has_a_page_and_is_logged(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/fault")
    async def fault() -> str:
        raise ZeroDivisionError

    response = await app.test_client().get("/fault")
    text = await response.get_data(as_text=True)
    assert response.status_code == 500
    assert "An unexpected error has occurred" in text
    assert "The administrator has been notified. Sorry for the inconvenience!" in text
    assert "ZeroDivisionError" not in text
    assert "ZeroDivisionError" in caplog.text


async def test_a_body_that_is_not_utf8_gets_400(app: Quart) -> None:
    response = await app.test_client().post(
        "/login",
        data=b"username=\xff\xfe%ff&password=x",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert response.status_code == 400


async def test_with_an_outdated_schema_pages_are_unavailable_and_the_reason_is_logged(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    susan, _ = await logged_in(app, "susan")
    await migrations.downgrade(database_of(app), "ae346256b650")
    for page in (await susan.get("/index"), await Visitor(app).submit("/hello", name="Ann")):
        assert page.status == 503
        assert "Temporarily Unavailable" in page.text
    assert caplog.text.count("run `microblog db upgrade`") == 2
    await migrations.upgrade(database_of(app))


FIELD = re.compile(r'<label[^>]* for="(\w+)">(.*?)</label>')


@pytest.mark.parametrize(
    ("path", "form", "fields"),
    [
        ("/index", PostForm, [("post", "Say something")]),
        (
            "/edit_profile",
            EditProfileForm,
            [
                ("username", "Username"),
                ("about_me", "About me"),
                ("language", "Language"),
                ("timezone", "Time zone"),
            ],
        ),
        ("/hello", NameForm, [("name", "What is your name?")]),
    ],
)
async def test_fields_have_their_labels(
    app: Quart, path: str, form: type[Form], fields: list[tuple[str, str]]
) -> None:
    susan, _ = await logged_in(app, "susan")
    text = (await susan.get(path)).text.partition("<main")[2]
    assert FIELD.findall(text) == fields
    for name, _ in fields:
        assert re.search(rf'<(input|select|textarea)[^>]* id="{name}"[^>]* name="{name}"', text)
        assert hasattr(form, name)
    assert f'action="{path}"' in text
    assert 'name="submit"' in text
    assert 'name="csrf_token"' in text


async def test_pages_made_without_the_session_do_not_say_who_is_logged_in(
    app: Quart, monkeypatch: pytest.MonkeyPatch
) -> None:
    susan, _ = await logged_in(app, "susan")

    async def fail(token: str) -> NoReturn:
        raise DatabaseUnavailable("down")

    too_long = await susan.get("/explore?" + "x" * 8001)
    too_large = await susan.post("/index", post="x" * 2**20)
    monkeypatch.setattr("app.accounts.sessions.find", fail)
    unavailable = await susan.get("/explore")
    assert [page.status for page in (too_long, too_large, unavailable)] == [414, 413, 503]
    for page in (too_long, too_large, unavailable):
        assert not re.search("Login|Register|Log out|susan", page.text)
        assert 'href="/"' in page.text
