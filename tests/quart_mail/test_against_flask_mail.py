"""The same messages through Flask-Mail and through quart_mail, compared as they arrive."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from email.message import EmailMessage
from email.message import Message as StandardMessage
from email.parser import BytesParser
from email.policy import default
from email.utils import parseaddr
from typing import Any

import flask
import flask_mail
import pytest

from app import quart_mail
from app.quart_mail import Message
from tests.smtp_server import AiosmtpdServer

from .conftest import SENDER, MakeMail

PAIR = ("Ann Example", "ann@example.com")
DATE = 1_700_000_000.0
FILES = [("a.txt", "text/plain", b"text"), ("ü.bin", None, b"\0\xff" * 500), (None, "text/csv", b"1")]

MESSAGES: dict[str, dict[str, Any]] = {
    "plain": {"body": "Hello Joe,\nHow are you?\n"},
    "nothing but recipients": {"subject": ""},
    "unicode": {"subject": "Zażółć gęślą jaźń", "body": "ünicöde ←→ ✓\n"},
    "long subject": {"subject": "word " * 40 + "end", "body": "b"},
    "folded subject": {"subject": "one\r\n two\r\n\tthree", "body": "b"},
    "html": {"body": "text", "html": "<p>text ✓</p>"},
    "html alone": {"html": "<p>text</p>"},
    "alternatives": {"body": "t", "html": "<p>", "alts": {"calendar": "BEGIN:VCALENDAR"}},
    "attachments": {"body": "see", "files": FILES},
    "html and attachments": {"body": "see", "html": "<b>see</b>", "files": FILES},
    "cc and bcc": {"cc": ["cc@example.com"], "bcc": [("B", "b@example.com")], "body": "b"},
    "pairs": {"recipients": [PAIR], "sender": PAIR, "reply_to": PAIR, "body": "b"},
    "unicode names": {"recipients": ["Jörg <j@example.com>"], "sender": ("Zoë", "z@example.com")},
    "quoted name": {"recipients": ['"Doe, John" <john@example.com>'], "body": "b"},
    "extra headers": {"extra_headers": {"X-One": "1", "X-Two": "zwei  drei"}, "body": "b"},
    "us-ascii": {"charset": "us-ascii", "body": "plain"},
    "latin-1": {"charset": "iso-8859-1", "subject": "é", "body": "é\n"},
    "shift_jis": {"charset": "shift_jis", "subject": "表題", "body": "内容\n"},
    "dots": {"body": ".\n..\n.a\n"},
    "options": {"mail_options": ["BODY=8BITMIME"], "body": "b"},
    "duplicates": {"recipients": ["a@example.com", "a@example.com"], "body": "b"},
    "empty parts": {"body": "", "html": "", "files": [("e.txt", "text/plain", b"")]},
}  # fmt: skip


def build(kind: Any, given: dict[str, Any]) -> Any:
    arguments: dict[str, Any] = {"subject": "subject", "recipients": ["to@example.com"], "date": DATE} | given
    files = arguments.pop("files", [])
    message = kind(**arguments)
    for name, content_type, data in files:
        message.attach(name, content_type, data)
    return message


@pytest.fixture
def flask_app() -> Iterator[flask.Flask]:
    app = flask.Flask("x")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER=SENDER)
    flask_mail.Mail(app)
    with app.app_context():
        yield app


def leaves(message: StandardMessage) -> list[tuple[str, str | None, str | None, str | None, Any]]:
    """(type, charset, file name, disposition, content) of all parts; multiparts are left out."""
    found = []
    for part in message.walk():
        if not part.is_multipart():
            assert isinstance(part, EmailMessage)
            content = part.get_content() if part.get_content_maintype() == "text" else None
            raw = part.get_payload(decode=True)
            disposition = part.get_content_disposition() if part.get_filename() else None
            shown = content.replace("\r\n", "\n").rstrip("\n") if content is not None else raw
            kind, charset = part.get_content_type(), part.get_content_charset()
            found.append((kind, charset, part.get_filename(), disposition, shown))
    return found


def addresses(message: StandardMessage, field: str) -> set[tuple[str, str]]:
    return {(a.display_name, a.addr_spec) for a in getattr(message[field], "addresses", ())}


@pytest.mark.parametrize("given", MESSAGES.values(), ids=MESSAGES)
async def test_both_extensions_messages_mean_the_same(
    make_mail: MakeMail, flask_app: flask.Flask, given: dict[str, Any]
) -> None:
    theirs = build(flask_mail.Message, given)
    async with AiosmtpdServer() as catcher:
        await make_mail(catcher.port).send(build(Message, given))
    expected = BytesParser(policy=default).parsebytes(theirs.as_bytes())
    ours = catcher.parsed()
    assert leaves(ours) == leaves(expected)
    for field in ("From", "To", "Cc", "Reply-To"):
        assert addresses(ours, field) == addresses(expected, field), field
    for field in ("Subject", "Date", "X-One", "X-Two", "MIME-Version"):
        assert ours[field] == expected[field], field
    envelope = catcher.envelopes[0]
    assert set(envelope.rcpt_tos) == {parseaddr(flask_mail.sanitize_address(to))[1] for to in theirs.send_to}
    assert envelope.mail_from == parseaddr(theirs.sender)[1]
    assert set(theirs.mail_options) <= set(envelope.mail_options)


def test_the_arguments_have_the_same_names_order_and_defaults() -> None:
    for theirs, ours in ((flask_mail.Message, Message), (flask_mail.Attachment, quart_mail.Attachment)):
        expected = [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]
        found = [
            (p.name, p.default)
            for p in inspect.signature(ours).parameters.values()
            if p.kind is not p.KEYWORD_ONLY
        ]
        assert found == expected


def test_everything_public_in_flask_mail_is_here_too() -> None:
    for name in ("Mail", "Message", "Attachment", "Connection", "BadHeaderError", "email_dispatched"):
        theirs, ours = getattr(flask_mail, name), getattr(quart_mail, name)
        if isinstance(theirs, type):
            missing = {n for n in vars(theirs) if not n.startswith("_")} - set(dir(ours))
            # configure_host is smtplib's own, is_bad_headers is deprecated and about to go
            assert missing <= {"configure_host", "is_bad_headers"}, (name, missing)


async def test_the_state_of_an_app_does_what_flask_mails_does(
    make_mail: MakeMail, flask_app: flask.Flask
) -> None:
    theirs = flask_app.extensions["mail"]
    async with AiosmtpdServer() as catcher:
        mail, other = make_mail(catcher.port), make_mail(MAIL_SUPPRESS_SEND=True)
        assert mail.app is not None
        ours = mail.app.extensions["mail"]
        assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
        with ours.record_messages() as recorded:
            await ours.send(Message("one", ["to@example.com"], "1"))
            await ours.send_message("two", ["to@example.com"], "2")
            async with ours.connect() as connection:
                await connection.send_message("three", ["to@example.com"], "3")
            await other.send_message("another app's", ["to@example.com"], "4")
    assert [message.subject for message in recorded] == ["one", "two", "three"]
    assert len(catcher.envelopes) == 3


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com",
        "Ann <ann@example.com>",
        '"Doe, John" <john@example.com>',
        ("Ann", "ann@example.com"),
        ("", "ann@example.com"),
        ("Dr. Ann", "ann@example.com"),
        ("Zoë", "zoe@example.com"),
        "Jörg Ünal <j@example.com>",
        "ann@bücher.example",
        ("Ą" * 60, "a@example.com"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_sanitize_address_is_flask_mails(address: Any, encoding: str) -> None:
    expected = flask_mail.sanitize_address(address, encoding)
    assert quart_mail.sanitize_address(address, encoding) == expected


@pytest.mark.parametrize("subject", ["", "plain", "word " * 40, "Zażółć gęślą jaźń", "é" * 200, "表題"])
@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "shift_jis"])
def test_sanitize_subject_is_flask_mails(subject: str, encoding: str) -> None:
    expected = flask_mail.sanitize_subject(subject, encoding)
    assert quart_mail.sanitize_subject(subject, encoding) == expected


@pytest.mark.parametrize(
    ("value", "options"),
    [
        ("text", ()),
        ("tëxt".encode(), ()),
        (b"t\xebxt", ("iso-8859-1",)),
        (b"t\xebxt", ("utf-8", "replace")),
        (7, ()),
        (None, ()),
        (ValueError("a", "b"), ()),
    ],
)
def test_force_text_is_flask_mails(value: Any, options: tuple[str, ...]) -> None:
    assert quart_mail.force_text(value, *options) == flask_mail.force_text(value, *options)


def test_force_text_raises_what_flask_mails_does() -> None:
    for force_text in (flask_mail.force_text, quart_mail.force_text):
        with pytest.raises(UnicodeDecodeError):
            force_text(b"\xff")


def test_sanitize_addresses_is_flask_mails() -> None:
    given: list[str | tuple[str, str]] = [
        "ann@example.com",
        PAIR,
        ("Zoë", "zoe@example.com"),
        "ann@example.com",
    ]
    expected = flask_mail.sanitize_addresses(given)
    assert quart_mail.sanitize_addresses(given) == expected


def test_flask_mails_faults_are_not_in_the_sanitize_functions() -> None:
    assert quart_mail.sanitize_addresses("ann@example.com") == ["ann@example.com"]
    assert quart_mail.sanitize_address("Doe, John <john@example.com>").endswith("<john@example.com>")
    assert quart_mail.sanitize_address("jörg@straße.de") == "jörg@xn--strae-oqa.de"
    evil = "x\r\nBcc: victim@example.com"
    assert "\n" not in quart_mail.sanitize_subject(evil)
    assert "\n" not in quart_mail.sanitize_address((evil, "ann@example.com"))
