"""Mails that went out, or came to the catching server, and the links in them."""

from __future__ import annotations

import re

from quart import Quart

from app import mail
from app.dev.catcher import Catcher
from app.dev.mail_parser import read_letter
from app.quart_mail import Message
from tests.parts import courier_of


async def text_to(catcher: Catcher, address: str, *, seconds: float = 20) -> str:
    """Return the text of the first mail to `address`, waiting for it up to `seconds`."""
    seen = 0
    while True:
        arrived = await catcher.mailbox.wait(after=seen, timeout=seconds)
        seen = arrived.id
        if address in arrived.recipients:
            text = read_letter(arrived.content).text
            assert text is not None
            return text


async def sent_by(app: Quart) -> list[Message]:
    """Let the site deliver what is due, and return what went out."""
    with mail.record_messages() as sent:
        await courier_of(app).drain()
    return sent


def bodies(message: Message) -> tuple[str, str]:
    """Return the text and the HTML of a mail that has both."""
    assert message.body is not None
    assert message.html is not None
    return message.body, message.html


def reset_link(text: str | None) -> str:
    """Return the path of the reset link in the text of a mail."""
    return link_to("reset_password", text)


def link_to(page: str, text: str | None) -> str:
    """Return the path of the link to `page` in the text of a mail."""
    found = re.search(rf"http://[\w.:]+(/{page}/\S+)", text or "")
    assert found is not None, text
    return found[1]
