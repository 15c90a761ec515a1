"""Celery's own lines, in the form of the site's: one event is one line, said once."""

from __future__ import annotations

import logging
from logging.handlers import WatchedFileHandler

from celery.utils.log import get_multiprocessing_logger

from app.logs import LOGGERS, LineFormatter, StderrHandler


def set_up(log_format: str, level: int, path: str | None) -> None:
    """Let Celery log what is of `level` or above to the file at `path`, or to standard error.

    What the site logs it writes to standard error itself, and is added to the file only.
    """
    handler = WatchedFileHandler(path, encoding="utf-8") if path else StderrHandler()
    handler.setFormatter(LineFormatter(log_format))
    if path is None:
        handler.addFilter(_is_not_ours)
    root, pool = logging.getLogger(), get_multiprocessing_logger()
    root.handlers[:] = pool.handlers[:] = [handler]
    root.setLevel(level)
    pool.setLevel(logging.ERROR)


def _is_not_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] not in LOGGERS
