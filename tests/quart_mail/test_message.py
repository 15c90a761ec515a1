"""Message: what Flask-Mail's own tests expect, and that nothing breaks out of a header."""

from __future__ import annotations

import email
import email.utils
import re
import time
from typing import Any

import pytest
from quart import Quart

from app.quart_mail import Attachment, BadHeaderError, Mail, Message

from .conftest import SENDER, make_app


class LazyText:
    """A text that is only known when it is asked for, like a lazy translation."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def build(**given: Any) -> Message:
    usual = {"subject": "subject", "sender": "from@example.com", "recipients": ["to@example.com"]}
    return Message(**(usual | given))


def test_the_default_sender_is_taken_when_none_is_given(app: Quart, mail: Mail) -> None:
    message = Message(subject="subject", recipients=["to@example.com"])
    assert message.sender == app.extensions["mail"].default_sender == SENDER
    assert message.recipients == ["to@example.com"]


def test_recipients_start_empty_and_can_be_added(app: Quart, mail: Mail) -> None:
    message = Message(subject="subject")
    assert message.recipients == []
    message.add_recipient("somebody@example.com")
    assert message.recipients == ["somebody@example.com"]


def test_esmtp_options_start_empty_and_are_kept(app: Quart, mail: Mail) -> None:
    assert (Message().mail_options, Message().rcpt_options) == ([], [])
    assert Message(mail_options=["BODY=8BITMIME"]).mail_options == ["BODY=8BITMIME"]
    assert Message(rcpt_options=["NOTIFY=SUCCESS"]).rcpt_options == ["NOTIFY=SUCCESS"]


def test_send_to_holds_everybody_once_as_given(app: Quart, mail: Mail) -> None:
    pair = ("Somebody", "somebody@example.com")
    message = build(recipients=[pair], cc=["cc@example.com"], bcc=["bcc@example.com"])
    assert message.send_to == {pair, "cc@example.com", "bcc@example.com"}
    message.add_recipient("cc@example.com")
    assert list(message.send_to) == [pair, "cc@example.com", "bcc@example.com"]


@pytest.mark.parametrize("sender", [("tester", "tester@example.com"), ["tester", "tester@example.com"]])
async def test_a_default_sender_may_be_a_pair(sender: Any) -> None:
    app = make_app(TESTING=True, MAIL_DEFAULT_SENDER=sender)
    Mail(app)
    async with app.app_context():
        assert Message(subject="testing").sender == "tester <tester@example.com>"


def test_a_sender_may_be_a_pair() -> None:
    message = build(sender=("tester", "tester@example.com"))
    assert message.sender == "tester <tester@example.com>"


def test_reply_to_is_written() -> None:
    message = build(reply_to="somebody <somebody@example.com>")
    assert "\r\nReply-To: somebody <somebody@example.com>\r\n" in message.as_string()


def test_cc_is_written_and_bcc_is_not() -> None:
    text = build(cc=["cc@example.com"], bcc=["hidden@example.com"]).as_string()
    assert "\r\nCc: cc@example.com\r\n" in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    "subject", ["testing\r\n", "testing\n\r", "testing\r\n testing\r\n ", "a\r\n b\r\n\t", "a\r\n b\r\n\n"]
)
async def test_a_subject_that_ends_its_field_is_not_sent(mail: Mail, subject: str) -> None:
    message = build(subject=subject)
    assert message.has_bad_headers()
    with pytest.raises(BadHeaderError):
        await mail.send(message)


async def test_a_folded_subject_is_sent_as_it_is(mail: Mail) -> None:
    message = build(subject="testing\r\n testing\r\n testing \r\n \ttesting")
    await mail.send(message)
    assert "testing\r\n testing\r\n testing \r\n \ttesting" in message.as_string()


def test_line_breaks_are_taken_out_of_addresses_when_written() -> None:
    message = build(
        sender="from\r\n@example.com", reply_to="reply\r\n@example.com", recipients=["to\n@b.com\r"]
    )
    text = message.as_string()
    assert "\r\nFrom: from@example.com\r\n" in text
    assert "\r\nReply-To: reply@example.com\r\n" in text
    assert "\r\nTo: to@b.com\r\n" in text
    assert message.has_bad_headers()


def test_a_plain_message_is_text() -> None:
    message = build(body="Hello Joe,\nHow are you?")
    assert message.body == "Hello Joe,\nHow are you?"
    assert 'Content-Type: text/plain; charset="utf-8"' in message.as_string()
    assert message.as_string() == str(message) == bytes(message).decode()


def test_html_can_be_set_read_and_taken_away() -> None:
    message = build(html="<p>")
    assert message.html == "<p>"
    message.html = None
    assert message.html is None
    assert message.alts == {}


def test_the_date_is_the_one_given() -> None:
    message = build(date=time.time())
    assert f"Date: {email.utils.formatdate(message.date, localtime=True)}" in message.as_string()


def test_the_message_id_is_well_formed_written_and_kept() -> None:
    message = build()
    assert re.fullmatch(r"<\S+@example\.com>", message.msgId)
    assert f"\r\nMessage-ID: {message.msgId}\r\n" in message.as_string()
    assert message.msgId != build().msgId


@pytest.mark.parametrize("sender", [("ÄÜÖ → ✓", "from@example.com>"), "ÄÜÖ → ✓ <from@example.com>>"])
def test_a_unicode_sender_is_encoded(sender: Any) -> None:
    expected = "From: =?utf-8?b?w4TDnMOWIOKGkiDinJM=?= <from@example.com>"
    assert expected in build(sender=sender).as_string()


def test_unicode_names_and_subjects_are_encoded() -> None:
    message = build(
        subject=LazyText("sübject"),
        recipients=["Ä <t1@example.com>", "Ü <t2@example.com>"],
        cc=["Ö <cc@example.com>"],
    )
    text = message.as_string()
    assert "Subject: =?utf-8?q?s=C3=BCbject?=" in text
    assert "To: =?utf-8?b?w4Q=?= <t1@example.com>, =?utf-8?b?w5w=?= <t2@example.com>" in text
    assert "Cc: =?utf-8?b?w5Y=?= <cc@example.com>" in text


def test_extra_headers_are_written() -> None:
    assert "\r\nX-Extra: Yes\r\n" in build(extra_headers={"X-Extra": "Yes"}).as_string()


async def test_an_empty_subject_is_left_out(mail: Mail) -> None:
    message = build(subject="", body="normal ascii text")
    await mail.send(message)
    assert "Subject:" not in message.as_string()


TO = ["to@example.com"]


EVIL = ("x\r\nBcc: victim@example.com", "x\nBcc: v@example.com", "x\rBcc: v@example.com", "x\0y")


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    "where",
    ["subject", "sender", "reply_to", "recipients", "cc", "bcc", "extra_headers", "extra_name",
     "filename", "content_id", "disposition", "attachment_header", "alts", "msg_id",
     "mail_options", "rcpt_options"],
)  # fmt: skip
async def test_no_line_break_or_nul_gets_into_a_header_or_command(mail: Mail, where: str, evil: str) -> None:
    message = Message("s", list(TO), "body", "<p>", sender="from@example.com")
    address = f"{evil} <evil@example.com>"
    if where in {"recipients", "cc", "bcc"}:
        getattr(message, where).append(address)
    elif where in {"sender", "reply_to"}:
        setattr(message, where, address)
    elif where == "subject":
        message.subject = evil
    elif where == "msg_id":
        message.msgId = f"<{evil}@example.com>"
    elif where in {"mail_options", "rcpt_options"}:
        getattr(message, where).append(evil)
    elif where == "alts":
        message.alts[evil] = "x"
    elif where in {"extra_headers", "extra_name"}:
        message.extra_headers = {"X-Evil": evil} if where == "extra_headers" else {evil: "x"}
    else:
        message.attachments.append(evil_attachment(where, evil))
    with pytest.raises(BadHeaderError):
        await mail.send(message)
    if where not in {"mail_options", "rcpt_options", "alts"}:
        text = message.as_string()
        assert "\nBcc:" not in text
        assert "\rBcc:" not in text
        assert "\0" not in text


def evil_attachment(where: str, evil: str) -> Attachment:
    given: dict[str, Any] = {"filename": "a.txt", "data": b"x"}
    given |= {"headers": {"X-Evil": evil}} if where == "attachment_header" else {where: evil}
    return Attachment(**given)
