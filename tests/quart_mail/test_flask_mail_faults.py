"""Flask-Mail does have the faults that test_known_faults.py is about; else those tests mean little."""

from __future__ import annotations

import inspect
import smtplib
from collections.abc import Iterator
from typing import Any

import flask
import flask_mail
import pytest

TO: list[str | tuple[str, str]] = ["to@example.com"]


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    app = flask.Flask("x")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="from@example.com")
    flask_mail.Mail(app)
    with app.app_context():
        yield


def text(**given: Any) -> str:
    return flask_mail.Message(**({"recipients": TO, "body": "b"} | given)).as_bytes().decode()


def test_a_comma_empties_from() -> None:
    assert "john@example.com" not in text(sender=("Doe, John", "john@example.com"))


@pytest.mark.parametrize("evil", ["x\r\nBcc: v@example.com", "x\0y"])
def test_line_breaks_and_nul_pass_its_check(evil: str) -> None:
    message = flask_mail.Message("s", TO, cc=[evil], bcc=[evil], extra_headers={"X": evil})
    assert not message.has_bad_headers()


def test_a_text_falls_apart_into_letters() -> None:
    recipients: Any = "a@x"
    assert flask_mail.Message(recipients=recipients).send_to == {"a", "@", "x"}


def test_html_among_alts_is_dropped() -> None:
    assert flask_mail.Message(alts={"html": "<p>"}).alts == {}


def test_a_non_ascii_local_part_crashes() -> None:
    with pytest.raises(UnicodeEncodeError):
        flask_mail.sanitize_address("jörg@example.com")


def test_idn_is_idna_2003() -> None:
    assert flask_mail.sanitize_address("a@straße.de") == "a@strasse.de"


def test_a_long_list_unsubscribe_is_encoded() -> None:
    url = f"<https://example.com/{'u' * 300}>"
    assert "=?" in text(extra_headers={"List-Unsubscribe": url})


def test_long_lines_go_out_raw() -> None:
    assert "x" * 10_000 in text(body="x" * 10_000)


def test_bcc_only_has_an_empty_to() -> None:
    assert "\r\nTo: \r\n" in text(recipients=None, bcc=["b@example.com"])


def test_an_error_at_quit_is_raised_after_the_sending() -> None:
    class Host:
        def quit(self) -> None:
            raise smtplib.SMTPServerDisconnected

    connection = flask_mail.Connection(flask.current_app.extensions["mail"])
    connection.host = Host()  # type: ignore[assignment]
    with pytest.raises(smtplib.SMTPServerDisconnected):
        connection.__exit__(None, None, None)  # type: ignore[arg-type]


def test_refused_recipients_are_not_told() -> None:
    assert inspect.signature(flask_mail.Connection.send).return_annotation == "None"
