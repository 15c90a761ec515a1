"""No CR, LF or NUL from anyone reaches a header or a command."""

from __future__ import annotations

from typing import Any

import pytest

from app.quart_mail import Attachment, BadHeaderError, Mail, Message

TO = ["to@example.com"]


EVIL = ("x\r\nBcc: victim@example.com", "x\nBcc: v@example.com", "x\rBcc: v@example.com", "x\0y")


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    "where",
    ["subject", "sender", "reply_to", "recipients", "cc", "bcc", "extra_headers", "extra_name",
     "filename", "content_id", "disposition", "attachment_header", "alts", "msg_id",
     "mail_options", "rcpt_options"],
)  # fmt: skip
async def test_no_line_break_or_nul_gets_into_a_header_or_command(
    mail: Mail, where: str, evil: str
) -> None:
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
