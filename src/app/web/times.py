"""How times are written for people."""

from __future__ import annotations

from datetime import datetime

from quart import Quart


def init_app(app: Quart) -> None:
    """Let templates write a time as `{{ time|written }}`."""
    app.jinja_env.filters["written"] = written


def written(time: datetime) -> str:
    """Return `time`, which is in UTC, as in "20 Nov 2026, 12:00 UTC"."""
    return f"{time:%d %b %Y, %H:%M UTC}"
