"""Error reports by mail: an unhandled error reaches ADMINS once per kind and ten minutes, with a count.

    reports.init_app(app)        # after the outbox

An error is noted in memory at once, and stored by a task of its own: the answer waits for nothing and
cannot fail by it. Of a failure to report there is a line in the log and no report.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from app.outbox import Handle
from app.reports import ledger
from app.reports.description import describe
from app.reports.extension import init_app
from app.reports.noted import Notes

__all__ = ["init_app", "post"]


async def post(session: AsyncSession, error: BaseException) -> Handle:
    """Post a report of `error` in the transaction of `session`, whatever was reported before."""
    notes = Notes()
    notes.add(describe(error), route="(no request)", request_id="-", now=datetime.now(UTC))
    [noted] = notes.take()
    return await ledger.mail(session, noted)
