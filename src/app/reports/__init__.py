"""Error reports by mail: an unhandled error reaches ADMINS once per kind and ten minutes, with a count.

    reports.init_app(app)        # after the outbox; `app.email` renders the mail

An error is noted in memory at once, and stored by a task of its own: the answer waits for nothing and
cannot fail by it. Of a failure to report there is a line in the log and no report.
"""

from __future__ import annotations

from app.reports.extension import init_app
from app.reports.models import KIND

__all__ = ["KIND", "init_app"]
