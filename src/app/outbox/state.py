"""The outbox of one app: its settings, its kinds of mail, and the events its tasks wait for."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from quart import Quart, current_app

from app.database import Database
from app.outbox.models import LONGEST_ABOUT, Priority
from app.outbox.policy import RetryTimes
from app.quart_mail import Mail, Message

LEASE_MARGIN = 1 / 6
"""The last part of a lease, in which no DATA is begun, because the clocks of machines differ a little."""

READY_MADE_KIND = "message"
"""The kind of ready-made messages."""


@dataclass(frozen=True, slots=True)
class MailRequest:
    """A posted mail as its renderer gets it; `created_at`: when it was posted (aware UTC).

    `id`: of the delivery; the copies for several recipients have the same `message_id`.
    """

    id: int
    kind: str
    params: dict[str, Any]
    created_at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A message and its subject, such as `user:7`, by which `allowed_at` counts.

    `is_decoy`: do everything that is done for a mail except sending it, so that an observer cannot tell.
    """

    message: Message
    about: str | None = None
    is_decoy: bool = False

    def __post_init__(self) -> None:
        if len(self.about or "") > LONGEST_ABOUT:
            raise ValueError(f"about: at most {LONGEST_ABOUT} characters are allowed.")


@dataclass(frozen=True, slots=True)
class Postponed:
    """What a renderer returns for a mail that must wait until `until` (aware UTC), and is rendered then."""

    until: datetime


Renderer = Callable[[MailRequest], Awaitable[Message | Rendered | Postponed | None]]
"""Turns a request into a message, or None to send nothing. Called again for each retry."""

Merge = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
"""Combines the parameters of a waiting mail and of a newer one."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mail. The renderer runs in the app's context, once per attempt.

    `expiry`: after how many seconds a mail is no longer sent, None for OUTBOX_EXPIRY. `secret`: operators
    must not see its parameters. `transient`: they are erased when the mail is done, even if it failed, so
    that it cannot be retried. `merge`: how a waiting mail and a newer one with its unique key become one (see
    `outbox.post`). `delay`: a mail becomes due after a random time of up to so many seconds, so that it is
    not delivered together with the next request.
    """

    name: str
    renderer: Renderer
    priority: Priority = Priority.NORMAL
    expiry: float | None = None
    secret: bool = False
    transient: bool = False
    merge: Merge | None = None
    delay: float = 0.0


class Outbox:
    """State at `app.extensions["outbox"]`. All times are in seconds."""

    def __init__(self, app: Quart) -> None:
        config = app.config
        self.app = app
        self.database: Database = app.extensions["database"]
        self.mail = Mail()
        self.kinds: dict[str, Kind] = {}
        self.lease: float = config["OUTBOX_LEASE"]
        self.renew: float = config["OUTBOX_RENEW"]
        self.margin = timedelta(seconds=self.lease * LEASE_MARGIN)
        self.poll: float = config["OUTBOX_POLL"]
        self.deadline: float = config["OUTBOX_DEADLINE"]
        self.reply_timeout: float = config["OUTBOX_REPLY_TIMEOUT"]
        self.ready_deadline: float = config["MAIL_DEADLINE"]
        self.ready_reply_timeout: float = config["MAIL_DATA_TIMEOUT"]
        self.default_expiry: float = config["OUTBOX_EXPIRY"]
        self.grace: float = config["OUTBOX_GRACE"]
        self.keep: float = config["OUTBOX_KEEP"]
        self.connections: int = config["MAIL_POOL_SIZE"]
        self.times = RetryTimes(
            retry_first=config["OUTBOX_RETRY_FIRST"],
            retry_max=config["OUTBOX_RETRY_MAX"],
            probe_first=config["OUTBOX_PROBE_FIRST"],
            probe_max=config["OUTBOX_PROBE_MAX"],
        )
        self.wake_event = asyncio.Event()
        """Set when there may be something to deliver; cleared by the courier of this process."""
        self._waiters: dict[int, set[asyncio.Event]] = {}

    def clock(self) -> datetime:
        """Return the time by which leases run and mails expire."""
        return datetime.now(UTC)

    def wake(self) -> None:
        """Let the courier of this process look for due mail now."""
        self.wake_event.set()

    def notify_done(self, ids: Iterable[int]) -> None:
        """Wake the tasks that await a handle of these deliveries."""
        for id_ in ids:
            for event in self._waiters.get(id_, ()):
                event.set()

    @contextmanager
    def waiting_for(self, ids: Iterable[int]) -> Iterator[asyncio.Event]:
        """Give an event that is set when this process is done with one of these deliveries."""
        event, ids = asyncio.Event(), list(ids)
        for id_ in ids:
            self._waiters.setdefault(id_, set()).add(event)
        try:
            yield event
        finally:
            for id_ in ids:
                self._waiters[id_].discard(event)
                if not self._waiters[id_]:
                    del self._waiters[id_]


def outbox_of(app: Quart | None = None) -> Outbox:
    """Return the outbox of `app`, or of the current app."""
    outbox: Outbox = (app or current_app).extensions["outbox"]
    return outbox
