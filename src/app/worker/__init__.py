"""Delivery by Celery: `celery -A app.worker worker` and `celery -A app.worker beat`, for MAIL_COURIER=celery.

Mail is stored in the outbox. The broker only wakes workers: beat sends as many "drain" tasks, which carry no
data, as the backlog needs. Losing or duplicating tasks changes nothing, and the web process never
connects to the broker.
"""

import logging
import os
import signal
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from typing import Any

from billiard import active_children  # type: ignore[import-untyped]
from celery import Celery, signals
from celery.utils.log import get_multiprocessing_logger
from sqlalchemy.exc import DBAPIError

from app import create_app
from app.database import DatabaseUnavailable
from app.logs import LOGGERS, LineFormatter, StderrHandler
from app.outbox.courier import DatabaseProblem
from app.settings import SettingsError
from app.worker.runner import AppRunner

QUEUE = "mail"
DRAIN = "app.worker.drain"
DRAIN_SECONDS = 10.0  # how long one task keeps claiming mail
BROKER_SECONDS = 5  # how long to wait for an unresponsive broker
STOP = signal.SIGUSR2
"""Asks a pool process to release its mail. SIGTERM would end it before it could report to its parent."""


try:
    _config = create_app({"MAIL_COURIER": "celery"}).config
except SettingsError as error:  # Celery would print its traceback
    raise SystemExit(str(error)) from None

celery = Celery("microblog", broker=_config["CELERY_BROKER_URL"], set_as_current=False)
celery.conf.update(
    accept_content=["json"],
    beat_max_loop_interval=_config["OUTBOX_POLL"],
    beat_schedule={"drain": {"task": DRAIN, "schedule": _config["OUTBOX_POLL"]}},
    beat_scheduler="app.worker.beat:BacklogScheduler",
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=BROKER_SECONDS,
    broker_transport_options={
        "socket_connect_timeout": BROKER_SECONDS,
        "socket_timeout": BROKER_SECONDS,
        "socket_keepalive": True,
    },
    task_acks_late=True,
    task_default_queue=QUEUE,
    task_ignore_result=True,
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_max": 0.1},
    task_reject_on_worker_lost=True,
    task_serializer="json",
    worker_prefetch_multiplier=1,
)

_runner = AppRunner()
_database_problem = DatabaseProblem()


@celery.task(name=DRAIN)  # type: ignore[untyped-decorator]
def drain() -> None:
    """Deliver the mail that is due; log a database problem once, not for every task."""
    try:
        _runner.deliver(DRAIN_SECONDS)
        _database_problem.end()
    except (DatabaseUnavailable, DBAPIError) as error:
        _database_problem.record(error)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(loglevel: int, logfile: str | None, **_: Any) -> None:
    """Log in the site's format to the file, or to standard error, as the site's own loggers do."""
    handler = WatchedFileHandler(logfile, encoding="utf-8") if logfile else StderrHandler()
    handler.setFormatter(LineFormatter(_config["LOG_FORMAT"]))
    if logfile is None:
        handler.addFilter(lambda record: record.name.partition(".")[0] not in LOGGERS)
    root, pool = logging.getLogger(), get_multiprocessing_logger()
    root.handlers[:] = pool.handlers[:] = [handler]
    root.setLevel(loglevel)
    pool.setLevel(logging.ERROR)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _ignore_stop(**_: Any) -> None:
    """Ignore STOP, which would end processes without a handler for it; children inherit this."""
    signal.signal(STOP, signal.SIG_IGN)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _listen_for_stop(**_: Any) -> None:
    signal.signal(STOP, lambda _number, _frame: _runner.stop())


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_pool(**_: Any) -> None:
    """Stop the pool at once: Celery would wait for its tasks, however long they take."""
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, STOP)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_: Any) -> None:
    _runner.close()
