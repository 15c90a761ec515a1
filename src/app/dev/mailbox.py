"""Caught mails, in memory and bounded: the oldest go when there are too many or too much."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from itertools import count

from app.dev.mail_parser import Heading, read_heading

MAX_MAILS = 500
MAX_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """One mail as it was handed over: its envelope, its bytes, and its heading for lists."""

    id: int
    received: datetime
    envelope_from: str
    recipients: tuple[str, ...]
    content: bytes
    heading: Heading

    @property
    def sender(self) -> str:
        """Return the From header, or the envelope's sender where there is none."""
        return self.heading.sender or self.envelope_from

    @property
    def sender_name(self) -> str:
        """Return the sender's name without the address, or the address where there is no name."""
        name, address = parseaddr(self.sender)
        return name or address or self.sender


class Mailbox:
    """What the catcher caught; iterate it for the mails, newest first."""

    def __init__(self, *, max_mails: int = MAX_MAILS, max_bytes: int = MAX_BYTES) -> None:
        self._mails: deque[CaughtMail] = deque()
        self._ids = count(1)
        self._bytes = 0
        self._max_mails = max_mails
        self._max_bytes = max_bytes
        self._arrival = asyncio.Event()

    def __len__(self) -> int:
        return len(self._mails)

    def __iter__(self) -> Iterator[CaughtMail]:
        return iter(tuple(self._mails))

    @property
    def newest_id(self) -> int:
        """Return the number of the mail that came last, 0 before the first."""
        return self._mails[0].id if self._mails else 0

    def add(self, envelope_from: str, recipients: tuple[str, ...], content: bytes) -> CaughtMail:
        """Keep a mail, let go of the oldest beyond the bounds, and wake whoever waits."""
        mail = CaughtMail(
            id=next(self._ids),
            received=datetime.now(UTC),
            envelope_from=envelope_from,
            recipients=recipients,
            content=content,
            heading=read_heading(content),
        )
        self._mails.appendleft(mail)
        self._bytes += len(content)
        while len(self._mails) > 1 and self._is_over():
            self._bytes -= len(self._mails.pop().content)
        self._arrival.set()
        self._arrival = asyncio.Event()
        return mail

    def find(self, mail_id: str) -> CaughtMail | None:
        """Return the mail with that number, as it stands in an address; None where there is none."""
        return next((mail for mail in self._mails if str(mail.id) == mail_id), None)

    async def wait(self, *, after: int = 0, timeout: float = 10.0) -> CaughtMail:
        """Return the oldest mail with a number above `after`, as soon as there is one.

        timeout: seconds, then TimeoutError.
        """
        async with asyncio.timeout(timeout):
            while self.newest_id <= after:
                await self._arrival.wait()
        return next(mail for mail in reversed(self._mails) if mail.id > after)

    def _is_over(self) -> bool:
        return len(self._mails) > self._max_mails or self._bytes > self._max_bytes
