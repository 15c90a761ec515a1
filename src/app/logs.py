"""Logging: each event is one line, as `key=value` pairs or JSON; a lasting problem is logged only once."""

import json
import logging
import re
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from quart import Quart

from app import settings

LOGGERS = ("app", "asyncio")  # whose lines the site writes
PLAIN_VALUE = re.compile(r"[\w.:/@+<>*-]+", re.ASCII)

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request being answered; every line logged on its behalf carries it."""


@dataclass(frozen=True, slots=True)
class Event:
    """A log record's message as fields instead of text."""

    fields: dict[str, Any]

    def __str__(self) -> str:
        return format_fields(self.fields)


class LineFormatter(logging.Formatter):
    """Formats a record as one line of printable ASCII, control characters escaped.

    `style` is `text`, `json`, or `tall`: text with the traceback on lines of its own, for development.
    `hypercorn.toml` names this class for the server's own log; its style then comes from the environment.
    """

    def __init__(self, style: str | None = None) -> None:
        super().__init__()
        self.style = style or settings.from_environment().get("LOG_FORMAT", "").strip().lower()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`, traceback included."""
        event: Any = record.msg
        fields: dict[str, Any] = (
            dict(event.fields) if isinstance(event, Event) else {"message": record.getMessage()}
        )
        fields.setdefault("request", request_id.get())
        fields = {name: value for name, value in fields.items() if value is not None}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        stamp = time.replace("+00:00", "Z")
        if self.style == "json":
            head = {"time": stamp, "level": record.levelname, "logger": record.name}
            return json.dumps(head | fields, default=str)
        traceback = _printable(fields.pop("traceback", "")) if self.style == "tall" else ""
        return f"{stamp} {record.levelname} {record.name} {format_fields(fields)}{traceback}"


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`, even if it was replaced."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Return `sys.stderr`."""
        return sys.stderr


class OngoingProblem:
    """Logs a problem that may last: once when it starts or changes, and once when it ends."""

    def __init__(self, log: logging.Logger, start_message: str, end_message: str) -> None:
        self._log = log
        self._start_message = start_message
        self._end_message = end_message
        self._cause: str | None = None

    def start(self, cause: str) -> None:
        """Log the start message with `cause` for its `%s`, unless it was the last one logged."""
        if cause != self._cause:
            self._cause = cause
            self._log.warning(self._start_message, cause)

    def end(self) -> None:
        """Log the end message if there was a problem."""
        if self._cause is not None:
            self._cause = None
            self._log.warning(self._end_message)


def init_app(app: Quart) -> None:
    """Write what this package and asyncio log to standard error, in the format LOG_FORMAT.

    When the site starts, say which of Microblog's settings have no effect.
    """
    handler = StderrHandler()
    handler.setFormatter(LineFormatter(app.config["LOG_FORMAT"]))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in logger.handlers[:]:
            if isinstance(old, StderrHandler):
                logger.removeHandler(old)
        logger.addHandler(handler)
    logging.getLogger("app").setLevel(logging.DEBUG if app.debug else logging.INFO)

    @app.before_serving
    async def name_replaced_settings() -> None:
        if sentence := settings.replaced():
            logging.getLogger(__name__).info(sentence)


def format_fields(fields: dict[str, Any]) -> str:
    """Return `fields` as `name=value name="other value"`: printable ASCII on one line, without None."""
    texts = {name: str(value) for name, value in fields.items() if value is not None}
    return " ".join(
        f"{name}={text if PLAIN_VALUE.fullmatch(text) else json.dumps(text)}" for name, text in texts.items()
    )


def _printable(traceback: str) -> str:
    """Return `traceback` on lines of its own, with all control characters but line breaks escaped."""
    lines = (json.dumps(line)[1:-1].replace('\\"', '"') for line in traceback.splitlines())
    return "\n".join(["", *lines]) if traceback else ""
