"""The mail that reports unhandled errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quart import current_app

from app.mailer import Email, render
from app.outbox import MailRequest, Priority
from app.quart_mail import Message

EXPIRY_SECONDS = 86400


@dataclass(frozen=True, slots=True)
class ErrorReport(Email):
    """A report to ADMINS of `count` unhandled errors of one kind, and of the request that had the last."""

    kind = "error_report"
    priority = Priority.LOW
    error: str
    count: int
    route: str
    request_id: str
    traceback: str
    first_seen: str
    last_seen: str

    @classmethod
    def expiry(cls, config: Mapping[str, Any]) -> float:
        """Return a day: an older report only hides newer ones."""
        return EXPIRY_SECONDS

    async def render(self, request: MailRequest) -> Message | None:
        """Render the report to ADMINS, if set."""
        admins = current_app.config["ADMINS"]
        if not admins:
            return None
        message = await render(admins[0], "Failure", "email/error_report", **asdict(self))
        message.recipients = list(admins)
        return message
