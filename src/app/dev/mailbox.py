"""The mails caught by `microblog dev`, in memory. The oldest are dropped beyond a number or total size."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from itertools import count

from app.dev.mail_parser import Summary, parse_summary

MAX_MAILS = 500
MAX_BYTES = 50 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CaughtMail:
    """A mail as received: its envelope, its bytes, and the headers that the inbox lists."""

    id: int
    received: datetime
    envelope_from: str
    recipients: tuple[str, ...]
    content: bytes
    summary: Summary

    @property
    def sender(self) -> str:
        """Return the From header, or the envelope sender if it is missing."""
        return self.summary.sender or self.envelope_from

    @property
    def sender_name(self) -> str:
        """Return the sender's display name, or the address if there is no name."""
        name, address = parseaddr(self.sender)
        return name or address or self.sender


class Mailbox:
    """The caught mails. Iterating yields the newest first."""

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
        """Return the number of the newest mail, 0 if there is none."""
        return self._mails[0].id if self._mails else 0

    def add(self, envelope_from: str, recipients: tuple[str, ...], content: bytes) -> CaughtMail:
        """Store a mail, drop the oldest beyond the limits, and wake `wait`."""
        mail = CaughtMail(
            id=next(self._ids),
            received=datetime.now(UTC),
            envelope_from=envelope_from,
            recipients=recipients,
            content=content,
            summary=parse_summary(content),
        )
        self._mails.appendleft(mail)
        self._bytes += len(content)
        while len(self._mails) > 1 and (len(self._mails) > self._max_mails or self._bytes > self._max_bytes):
            self._bytes -= len(self._mails.pop().content)
        self._arrival.set()
        self._arrival = asyncio.Event()
        return mail

    def find(self, mail_id: str) -> CaughtMail | None:
        """Return the mail with this number, given as in a URL, or None."""
        return next((mail for mail in self._mails if str(mail.id) == mail_id), None)

    async def wait(self, *, after: int = 0, timeout: float = 10.0) -> CaughtMail:
        """Return the oldest mail numbered above `after`; raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while self.newest_id <= after:
                await self._arrival.wait()
        return next(mail for mail in reversed(self._mails) if mail.id > after)
