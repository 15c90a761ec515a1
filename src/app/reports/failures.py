"""Count failures in the database, for all processes together, and report them by mail."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from quart import current_app
from sqlalchemy import Integer, String, Text, case, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base, UtcDateTime, insert_into
from app.mailer import Email, render
from app.outbox import MailRequest, Priority
from app.quart_mail import Message
from app.reports.description import Description
from app.web import languages

REPORT_INTERVAL = timedelta(minutes=10)
KEPT = timedelta(days=30)
REPORT_EXPIRY_SECONDS = 86400


class Failure(Base):
    """A kind of error at one place: `count` errors from `first_seen` to `last_seen` are not yet reported.

    Route, request and traceback are those of the latest.
    """

    __tablename__ = "failure"

    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(255))
    route: Mapped[str] = mapped_column(String(255))
    request_id: Mapped[str] = mapped_column(String(64))
    traceback: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(Integer)
    first_seen: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    mailed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @classmethod
    def of(cls, error: Description, route: str, request_id: str) -> Self:
        """Return one failure that was seen now and is not stored yet."""
        now = datetime.now(UTC)
        return cls(
            fingerprint=error.fingerprint,
            kind=error.kind,
            route=route,
            request_id=request_id,
            traceback=error.traceback,
            count=1,
            first_seen=now,
            last_seen=now,
        )

    def merge(self, other: Self) -> None:
        """Add the failures of `other`, which has the same kind."""
        self.count += other.count
        self.first_seen = min(self.first_seen, other.first_seen)
        if other.last_seen >= self.last_seen:
            self.route, self.request_id = other.route, other.request_id
            self.last_seen = other.last_seen


@dataclass(frozen=True, slots=True)
class ErrorReport(Email):
    """A report to ADMINS of `count` unhandled errors of one kind."""

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
        """Return one day; a later report would be of little use."""
        return REPORT_EXPIRY_SECONDS

    async def render(self, request: MailRequest) -> Message | None:
        """Render the report to ADMINS, if set."""
        admins = current_app.config["ADMINS"]
        if not admins:
            return None
        with languages.speaking(languages.find("en")):
            message = await render(admins[0], "Failure", "email/error_report", **asdict(self))
        message.recipients = list(admins)
        return message


def report(failure: Failure) -> ErrorReport:
    """Return the mail that reports failures of one kind."""
    return ErrorReport(
        error=failure.kind,
        count=failure.count,
        route=failure.route,
        request_id=failure.request_id,
        traceback=failure.traceback,
        first_seen=f"{failure.first_seen:%Y-%m-%d %H:%M:%S} UTC",
        last_seen=f"{failure.last_seen:%Y-%m-%d %H:%M:%S} UTC",
    )


async def count(session: AsyncSession, failure: Failure) -> None:
    """Add `failure` to those of its kind that are not yet reported."""
    values = {name: getattr(failure, name) for name in Failure.__table__.columns.keys()}  # noqa: SIM118
    statement = insert_into(session, Failure).values(values)
    new = statement.excluded
    first = case((Failure.count == 0, new.first_seen), else_=Failure.first_seen)
    latest = {name: new[name] for name in ("route", "request_id", "traceback", "last_seen")}
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[Failure.fingerprint],
            set_=latest | {"count": Failure.count + new.count, "first_seen": first},
        )
    )


async def post_due(session: AsyncSession, *, fingerprint: str | None = None) -> None:
    """Post a report for each kind that has failures to report and had none in the last REPORT_INTERVAL.

    Rows that another process is reporting are skipped, so that one report goes out.
    """
    now = datetime.now(UTC)
    due = (
        select(Failure)
        .where(
            Failure.count > 0, or_(Failure.mailed_at.is_(None), Failure.mailed_at <= now - REPORT_INTERVAL)
        )
        .with_for_update(skip_locked=True)
    )
    if fingerprint is not None:
        due = due.where(Failure.fingerprint == fingerprint)
    for failure in (await session.scalars(due)).all():
        await report(failure).post(session)
        failure.count, failure.mailed_at = 0, now


async def delete_old(session: AsyncSession) -> None:
    """Delete reported kinds that were last seen longer than KEPT ago."""
    start = datetime.now(UTC) - KEPT
    await session.execute(delete(Failure).where(Failure.count == 0, Failure.last_seen < start))
