"""What happened, one line each: logins, limits hit, resets, requests. For people and for programs.

    log_event("login", user=7)      ->  2026-11-20T12:00:00.000Z INFO event=login user=7 peer=... request=...

Fields are short facts: ids, names of limits, numbers. Passwords, tokens and whole paths are none.
"""

from __future__ import annotations

import logging
from typing import Any

from quart import has_request_context, request

log = logging.getLogger("app.events")


def log_event(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log `event` with `fields`; in a request who asks (`peer`) and the request's id are added."""
    if not log.isEnabledFor(level):
        return
    if has_request_context():
        fields.setdefault("peer", request.remote_addr)
    log.log(level, event, extra={"fields": fields})
