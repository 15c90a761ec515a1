"""Logging: one event is one line, whatever it holds, in `key=value` or JSON (LOG_FORMAT)."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from quart import Quart

from app import settings
from app.web import exchange
from app.web.events import Event, written

LOGGERS = ("app", "asyncio")


class Line(logging.Formatter):
    """Turns a record into one line of printable ASCII: a control character is written as its escape.

    `style` is `text`, `json`, or for a developer's eyes `tall`: text, and a traceback on lines of its own.
    `hypercorn.toml` names this class for the server's own log, which has the style of the environment.
    """

    def __init__(self, style: str | None = None) -> None:
        super().__init__()
        self.style = style or settings.from_environment().get("LOG_FORMAT")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of `record`, its traceback included."""
        facts = _facts(record)
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        stamp = when.replace("+00:00", "Z")
        if self.style == "json":
            head = {"time": stamp, "level": record.levelname, "logger": record.name}
            return json.dumps(head | facts, default=str)
        below = _readable(facts.pop("traceback", "")) if self.style == "tall" else ""
        return f"{stamp} {record.levelname} {record.name} {written(facts)}{below}"


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """The stream; a setter would be StreamHandler's."""
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is sys.stderr")


def init_app(app: Quart) -> None:
    """Let what this package and asyncio log be lines on standard error, in the form LOG_FORMAT."""
    handler = StandardError()
    handler.setFormatter(Line(app.config["LOG_FORMAT"]))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in logger.handlers[:]:
            if isinstance(old, StandardError):
                logger.removeHandler(old)
        logger.addHandler(handler)
    logging.getLogger("app").setLevel(logging.DEBUG if app.debug else logging.INFO)


def _readable(traceback: str) -> str:
    """Return `traceback` to stand below its line, its control characters but line breaks as escapes."""
    lines = (json.dumps(line)[1:-1].replace('\\"', '"') for line in traceback.splitlines())
    return "\n".join(["", *lines]) if traceback else ""


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    told = record.msg
    facts = dict(told.facts) if isinstance(told, Event) else {"message": record.getMessage()}
    here = exchange.current()
    if here is not None:
        facts.setdefault("request", here.id)
    return {name: value for name, value in facts.items() if value is not None}
