"""What happened, one line each: logins, limits hit, resets, requests. For people and for programs.

    log_event("login", user=7)      ->  2026-11-20T12:00:00.000Z INFO event=login user=7 peer=... request=...

Fields are short facts: ids, names of limits, numbers. Passwords, tokens and whole paths are none.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from quart import has_request_context, request

PLAIN = re.compile(r"[\w.:/@+<>*-]+", re.ASCII)

log = logging.getLogger("app.events")


@dataclass(frozen=True, slots=True)
class Event:
    """What a record of the log holds instead of a text."""

    facts: dict[str, Any]

    def __str__(self) -> str:
        return written(self.facts)


def written(facts: dict[str, Any]) -> str:
    """Return `facts` as `name=value name="other value"`: printable ASCII, one line."""
    texts = {name: str(value) for name, value in facts.items() if value is not None}
    return " ".join(
        f"{name}={text if PLAIN.fullmatch(text) else json.dumps(text)}"
        for name, text in texts.items()
    )


def log_event(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log `event` with `fields`; in a request who asks (`peer`) and the request's id are added."""
    if not log.isEnabledFor(level):
        return
    if has_request_context():
        fields.setdefault("peer", request.remote_addr)
    log.log(level, Event({"event": event, **fields}))
