"""The outbox of one app: its settings, its kinds of mail, and the bells its tasks wake each other by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from quart import Quart

from app.database import Database
from app.outbox.kinds import Kind
from app.outbox.rules import Times
from app.quart_mail import Mail

MARGIN = 1 / 6
"""The last part of a lease, in which no DATA is begun: clocks of machines differ a little."""


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
        self.margin = timedelta(seconds=self.lease * MARGIN)
        self.poll: float = config["OUTBOX_POLL"]
        self.deadline: float = config["OUTBOX_DEADLINE"]
        self.ready_deadline: float = config["MAIL_DEADLINE"]
        self.default_expiry: float = config["OUTBOX_EXPIRY"]
        self.grace: float = config["OUTBOX_GRACE"]
        self.keep: float = config["OUTBOX_KEEP"]
        self.connections: int = config["MAIL_POOL_SIZE"]
        self.times = Times(
            retry_first=config["OUTBOX_RETRY_FIRST"],
            retry_max=config["OUTBOX_RETRY_MAX"],
            probe_first=config["OUTBOX_PROBE_FIRST"],
            probe_max=config["OUTBOX_PROBE_MAX"],
        )
        self.posted = asyncio.Event()
        """Set when there may be something to deliver; cleared by the courier of this process."""
        self.awaited: dict[int, set[asyncio.Event]] = {}
        """What to set when a delivery is done here, by its id."""

    def clock(self) -> datetime:
        """Return the time by which leases run and mails expire."""
        return datetime.now(UTC)

    def kind(self, name: str) -> Kind:
        """Return a registered kind; raises LookupError."""
        try:
            return self.kinds[name]
        except KeyError:
            raise LookupError(
                f"No mail of the kind {name!r} is registered; see outbox.register."
            ) from None

    def expiry(self, seconds: float | None) -> float:
        """Return after how many seconds a mail posted now expires."""
        return self.default_expiry if seconds is None else seconds

    def wake(self) -> None:
        """Let this process's courier look for due mail now."""
        self.posted.set()

    def tell_done(self, ids: Iterable[int]) -> None:
        """Wake those who await a handle of these deliveries."""
        for id_ in ids:
            for event in self.awaited.get(id_, ()):
                event.set()

    @contextmanager
    def awaiting(self, ids: Iterable[int]) -> Iterator[asyncio.Event]:
        """Give an event that is set when one of these deliveries is done by this process."""
        event, ids = asyncio.Event(), list(ids)
        for id_ in ids:
            self.awaited.setdefault(id_, set()).add(event)
        try:
            yield event
        finally:
            for id_ in ids:
                self.awaited[id_].discard(event)
                if not self.awaited[id_]:
                    del self.awaited[id_]
