"""Bugs that Flask-Mail has and quart_mail does not."""

from __future__ import annotations

import inspect
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import flask
import flask_mail
import pytest

from app.quart_mail import BadAddressError, Message, Smtputf8Error
from tests.smtp_server import AiosmtpdServer, SmtpServer

from .conftest import MakeMail

TO = ["to@example.com"]


async def arrived(make_mail: MakeMail, **given: Any) -> AiosmtpdServer:
    """Send one message over real SMTP and return the server that took it."""
    async with AiosmtpdServer() as catcher:
        given = {"recipients": TO, "sender": "from@example.com", "body": "b"} | given
        await make_mail(catcher.port).send(Message(**given))
    return catcher


@pytest.mark.parametrize(
    "sender",
    [("Doe, John", "john@example.com"), "Doe, John <john@example.com>", '"Doe, John" <john@example.com>'],
)
async def test_a_comma_in_a_display_name_keeps_the_address(make_mail: MakeMail, sender: Any) -> None:
    catcher = await arrived(make_mail, sender=sender, recipients=[sender])
    assert catcher.envelopes[0].mail_from == "john@example.com"
    assert catcher.envelopes[0].rcpt_tos == ["john@example.com"]
    for field in ("From", "To"):
        (address,) = catcher.parsed()[field].addresses
        assert (address.display_name, address.addr_spec) == ("Doe, John", "john@example.com")


def test_two_addresses_in_one_text_are_refused_rather_than_one_lost() -> None:
    with pytest.raises(BadAddressError, match="more than one address"):
        Message(sender="from@example.com", recipients=["a@example.com, B <b@example.com>"]).as_bytes()


@pytest.mark.parametrize("field", ["recipients", "cc", "bcc"])
async def test_one_recipient_given_as_text_is_one_recipient(make_mail: MakeMail, field: str) -> None:
    catcher = await arrived(make_mail, **{"recipients": None, field: "a@example.com"})
    assert catcher.envelopes[0].rcpt_tos == ["a@example.com"]


async def test_html_given_among_alts_is_kept(make_mail: MakeMail) -> None:
    catcher = await arrived(make_mail, alts={"html": "<p>kept"})
    html = catcher.parsed().get_body(("html",))
    assert html is not None
    assert html.get_content().rstrip() == "<p>kept"


async def test_a_non_ascii_local_part_goes_by_smtputf8(make_mail: MakeMail) -> None:
    catcher = await arrived(make_mail, recipients=["Jörg <jörg@straße.example>"])
    assert catcher.envelopes[0].rcpt_tos == ["jörg@xn--strae-oqa.example"]
    assert "SMTPUTF8" in catcher.envelopes[0].mail_options
    assert "<jörg@xn--strae-oqa.example>" in catcher.contents[0].decode()


async def test_a_non_ascii_local_part_without_smtputf8_is_a_clear_error(make_mail: MakeMail) -> None:
    async with AiosmtpdServer(enable_SMTPUTF8=False) as catcher:
        mail = make_mail(catcher.port)
        with pytest.raises(Smtputf8Error, match="does not support them") as caught:
            await mail.send(Message("s", ["jörg@example.com"]))
        assert not caught.value.retry
        assert mail.pool.idle == 1  # and the connection serves the next message
        await mail.send(Message("s", ["joerg@example.com"]))
    assert len(catcher.envelopes) == 1


@pytest.mark.parametrize(
    ("domain", "ascii_domain"),
    [("straße.de", "xn--strae-oqa.de"), ("Bücher.example", "xn--bcher-kva.example"),
     ("例え.テスト", "xn--r8jz45g.xn--zckzah"), ("faß。de", "xn--fa-hia.de")],
)  # fmt: skip
async def test_idn_domains_are_idna_2008_a_labels(
    make_mail: MakeMail, domain: str, ascii_domain: str
) -> None:
    catcher = await arrived(make_mail, recipients=[f"a@{domain}"], sender=f"b@{domain}")
    assert catcher.envelopes[0].rcpt_tos == [f"a@{ascii_domain}"]
    assert catcher.parsed()["From"] == f"b@{ascii_domain}"
    assert catcher.parsed()["Message-ID"].endswith(f"@{ascii_domain}>")


async def test_a_long_list_unsubscribe_is_not_encoded(make_mail: MakeMail) -> None:
    urls = f"<https://example.com/{'u' * 300}>,<mailto:leave-{'m' * 200}@example.com>"
    catcher = await arrived(make_mail, extra_headers={"List-Unsubscribe": urls})
    raw = catcher.contents[0].decode()
    assert "=?" not in raw
    assert catcher.parsed()["List-Unsubscribe"].replace(" ", "") == urls


@pytest.mark.parametrize("length", [999, 10_000])
@pytest.mark.parametrize("what", ["body", "html", "subject", "extra"])
async def test_no_line_over_998_bytes_goes_out(make_mail: MakeMail, what: str, length: int) -> None:
    text = "x" * length
    given: dict[str, Any] = {"extra_headers": {"X-Long": text}} if what == "extra" else {what: text}
    catcher = await arrived(make_mail, **given)
    assert max(map(len, catcher.contents[0].split(b"\r\n"))) <= 998
    parsed = catcher.parsed()
    found = {"subject": parsed["Subject"], "extra": parsed["X-Long"]}.get(what)
    if found is None:
        part = parsed.get_body(("html" if what == "html" else "plain",))
        assert part is not None
        found = part.get_content().rstrip()
    assert found == text


async def test_bcc_only_mail_has_no_empty_to(make_mail: MakeMail) -> None:
    catcher = await arrived(make_mail, recipients=None, bcc=["b@example.com"])
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in catcher.contents[0]
    cc = await arrived(make_mail, recipients=None, cc=["c@example.com"])
    assert b"\r\nTo:" not in cc.contents[0]


async def test_recipients_keep_their_order_and_come_once(make_mail: MakeMail) -> None:
    many = [f"r{n}@example.com" for n in range(30)]
    doubled = [*many, "Again <r3@EXAMPLE.com>", *many]
    catcher = await arrived(make_mail, recipients=doubled, cc=["r1@example.com"])
    assert catcher.envelopes[0].rcpt_tos == many
    to = [a.addr_spec for a in catcher.parsed()["To"].addresses]
    assert to == [*many, "r3@EXAMPLE.com"]


@pytest.mark.parametrize("quit_answer", ["hang", "drop", "500 what?", "garbage"])
async def test_trouble_at_quit_neither_fails_nor_delays_a_sending(
    make_mail: MakeMail, quit_answer: str
) -> None:
    async with SmtpServer({"quit": quit_answer}) as server:
        mail = make_mail(server.port, MAIL_MAX_EMAILS=1)
        async with mail.connect() as connection:
            await connection.send(Message("s", TO))
        await mail.send(Message("s", TO))
        await mail.close()
    assert len(server.messages) == 2


async def test_refused_recipients_of_an_accepted_message_are_in_the_result(make_mail: MakeMail) -> None:
    async with AiosmtpdServer() as catcher:
        catcher.refuse["gone@example.com"] = "550 5.1.1 no such user"
        message = Message("s", ["gone@example.com", *TO])
        result = await make_mail(catcher.port).send(message)
    assert result.refused == {"gone@example.com": (550, "5.1.1 no such user")}
    assert (result.code, result.text) == (250, "OK number 1")


def test_missing_recipients_are_seen_under_python_o_too() -> None:
    program = (
        "import asyncio; from quart import Quart; from app.quart_mail import Mail, Message\n"
        "app = Quart('x'); app.testing = True; mail = Mail(app)\n"
        "try: asyncio.run(mail.send(Message('s', sender='a@b.de')))\n"
        "except AssertionError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "No recipients have been added.\n"


RECIPIENTS: list[str | tuple[str, str]] = ["to@example.com"]


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    app = flask.Flask("x")
    app.config.update(TESTING=True, MAIL_DEFAULT_SENDER="from@example.com")
    flask_mail.Mail(app)
    with app.app_context():
        yield


def text(**given: Any) -> str:
    return flask_mail.Message(**({"recipients": RECIPIENTS, "body": "b"} | given)).as_bytes().decode()


def test_a_comma_empties_from() -> None:
    assert "john@example.com" not in text(sender=("Doe, John", "john@example.com"))


@pytest.mark.parametrize("evil", ["x\r\nBcc: v@example.com", "x\0y"])
def test_line_breaks_and_nul_pass_its_check(evil: str) -> None:
    message = flask_mail.Message("s", RECIPIENTS, cc=[evil], bcc=[evil], extra_headers={"X": evil})
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
