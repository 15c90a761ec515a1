"""The outbox of one app: its settings, its kinds of mail, and its courier."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from quart import Quart

from app.database import Database
from app.outbox.claim import Claim
from app.outbox.courier import Courier
from app.outbox.kinds import Kind
from app.outbox.rules import Settlement, Times
from app.quart_mail import Mail

_log = logging.getLogger("app.outbox")


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
        self.settled = asyncio.Event()
        self.courier = Courier(self)

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
        self.courier.wake.set()

    def ring(self) -> None:
        """Let everybody who awaits a handle look."""
        self.settled.set()
        self.settled = asyncio.Event()

    def tell_settled(self, claim: Claim, settlement: Settlement) -> None:
        """Log what became of a mail, and ring."""
        _log.info(
            "Mail %d (%s): %s%s",
            claim.id,
            claim.kind,
            settlement.state,
            f" ({settlement.text})" if settlement.text else "",
        )
        if settlement.state.is_done:
            self.ring()


def init_app(app: Quart) -> None:
    """Give `app` its outbox, and with MAIL_COURIER=loop a courier while it serves.

    Needs the database and quart_mail to be there. The courier stops before either of them.
    """
    outbox = Outbox(app)
    app.extensions["outbox"] = outbox
    if app.config["MAIL_COURIER"] != "loop":
        return
    running: list[asyncio.Task[None]] = []

    @app.before_serving
    async def start() -> None:
        running.append(asyncio.create_task(outbox.courier.run(), name="courier"))

    async def stop() -> None:
        await outbox.courier.stop(outbox.grace)
        await asyncio.wait([running.pop()])

    app.after_serving_funcs.insert(0, stop)
