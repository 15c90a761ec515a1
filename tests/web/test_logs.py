"""The log: one event is one line, with the request's id and without secrets."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from quart import Quart

from app.logs import Event, LineFormatter
from app.web import limits
from tests.clients import Visitor

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

HOSTILE = "a\nb\r\x1b[31m\x00\x85\u2028\u202e\ud800\x7fc"


@pytest.fixture
def config(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"ACCESS_LOG": True, "RATELIMIT_ENABLED": True}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [LineFormatter().format(record) for record in caplog.records]


def access(caplog: pytest.LogCaptureFixture) -> str:
    return next(line for line in lines(caplog) if "event=access" in line)


def record(message: object, *arguments: object, error: BaseException | None = None) -> Any:
    trouble = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("app.test", 20, __file__, 1, message, arguments, trouble)


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_event_is_one_printable_line_whatever_it_contains(style: str) -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        trouble = record("went wrong: %s", HOSTILE, error=error)
    event = record(Event({"event": "test", "user": 7, "agent": HOSTILE}))
    for written in (LineFormatter(style).format(trouble), LineFormatter(style).format(event)):
        assert written.isascii()
        assert written.isprintable()
    if style == "json":
        assert json.loads(LineFormatter(style).format(event))["agent"] == HOSTILE
        assert "ValueError" in json.loads(LineFormatter(style).format(trouble))["traceback"]
    else:
        assert "event=test user=7" in LineFormatter(style).format(event)


def test_in_development_a_traceback_is_on_lines_of_its_own() -> None:
    try:
        raise ValueError("\x1b[31m")
    except ValueError as error:
        lines = LineFormatter("tall").format(record("went wrong", error=error)).split("\n")
    assert lines[0].endswith('message="went wrong"')
    assert lines[1] == "Traceback (most recent call last):"
    assert "ValueError" in lines[-1]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("value", ["json", "JSON", " Json "])
def test_the_servers_own_lines_follow_log_format_in_any_case(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", value)
    assert json.loads(LineFormatter().format(record("Running")))["message"] == "Running"


@only_sqlite
async def test_a_request_is_logged_with_its_route_and_id(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    page = await Visitor(app).get("/reset_password/eyJhbGciOiJIUzI1NiJ9.secret?token=secret")
    line = access(caplog)
    assert "method=GET route=/reset_password/<token> status=302" in line
    assert "secret" not in caplog.text
    assert f"request={page.response.headers['X-Request-ID']}" in line


@only_sqlite
async def test_an_unknown_path_is_not_logged(app: Quart, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await Visitor(app).get("/reset-password/secret")
    assert "status=404" in access(caplog)
    assert "secret" not in caplog.text


@only_sqlite
async def test_clients_cannot_choose_the_id_of_a_request(app: Quart) -> None:
    first = await Visitor(app).get("/login", headers={"X-Request-ID": "forged"})
    second = await Visitor(app).get("/login")
    names = [page.response.headers["X-Request-ID"] for page in (first, second)]
    assert names[0] != names[1]
    assert "forged" not in names


@only_sqlite
async def test_a_limit_that_is_hit_is_logged_without_its_key(
    app: Quart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    @app.get("/limited")
    async def limited() -> str:
        return str(await limits.count("1 per minute", "test:somebody@example.com"))

    visitor = Visitor(app)
    assert (await visitor.get("/limited")).text == "0"
    assert (await visitor.get("/limited")).text != "0"
    (line,) = (line for line in lines(caplog) if "event=limited" in line)
    assert "limit=test" in line
    assert "peer=" in line
    assert "somebody" not in caplog.text
