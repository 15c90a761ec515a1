"""Waiting for a mail at the catching server."""

from __future__ import annotations

import re

from app.mailbox import Catcher
from app.mailbox.letter import read_letter

LINK = re.compile(r"http://[\w.:]+(/reset_password/\S+)")


async def text_to(catcher: Catcher, address: str, *, seconds: float = 20) -> str:
    """Return the text of the first mail to `address`, waiting for it up to `seconds`."""
    seen = 0
    while True:
        mail = await catcher.mailbox.wait(after=seen, timeout=seconds)
        seen = mail.id
        if address in mail.recipients:
            return read_letter(mail.content).text


def reset_link(text: str) -> str:
    """Return the path of the reset link in the text of a mail."""
    found = LINK.search(text)
    assert found is not None, text
    return found[1]
