"""Delivery by Celery: `celery -A app.worker worker` and `celery -A app.worker beat`, for MAIL_COURIER=celery.

The outbox is the truth and the broker only a bell: beat rings it, with tasks that say nothing but "drain", as
often as the backlog needs; whatever the broker loses or doubles changes nothing. The web process never
talks to the broker.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from contextlib import suppress
from typing import Any

from billiard import active_children  # type: ignore[import-untyped]
from celery import Celery, signals
from celery.beat import Scheduler
from quart import Quart
from sqlalchemy.exc import DBAPIError

from app import create_app
from app.database import DatabaseUnavailable
from app.logs import OngoingProblem
from app.outbox.agenda import count_due
from app.outbox.trouble import Trouble
from app.settings import SettingsError
from app.worker import logs
from app.worker.site import WorkerSite, deferring

QUEUE = "mail"
DRAIN = "app.worker.drain"
DRAIN_SECONDS = 10.0
"""How long one task goes on claiming."""
MAILS_PER_TASK = 50
MOST_TASKS = 16
"""Tasks waiting in the broker; there is no use in more, and while no worker lives they would pile up."""
BROKER_SECONDS = 5
"""How long a mute broker may keep us waiting."""
STOP = signal.SIGUSR2
"""Tells a pool's process to let go its mail: SIGTERM would end it before it can tell its parent."""

_log = logging.getLogger(__name__)


def _settings() -> dict[str, Any]:
    """Return the settings of a site that starts; Celery would print the traceback of a SettingsError."""
    try:
        return create_app({"MAIL_COURIER": "celery"}).config
    except SettingsError as error:
        raise SystemExit(str(error)) from None


_config = _settings()

celery = Celery("microblog", broker=_config["CELERY_BROKER_URL"], set_as_current=False)
celery.conf.update(
    accept_content=["json"],
    beat_max_loop_interval=_config["OUTBOX_POLL"],
    beat_schedule={"drain": {"task": DRAIN, "schedule": _config["OUTBOX_POLL"]}},
    beat_scheduler="app.worker:BacklogScheduler",
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


deliverer = WorkerSite()
_trouble = Trouble()


@celery.task(name=DRAIN)  # type: ignore[untyped-decorator]
def drain() -> None:
    """Deliver what is due."""
    try:
        deliverer.deliver(DRAIN_SECONDS)
        _trouble.gone()
    except (DatabaseUnavailable, DBAPIError) as error:
        _trouble.met(error)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _set_up_logging(loglevel: int, logfile: str | None, **_: Any) -> None:
    logs.set_up(_config["LOG_FORMAT"], loglevel, logfile)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _ignore_stop(**_: Any) -> None:
    """Let no process end by STOP that has no use for it; children inherit this."""
    signal.signal(STOP, signal.SIG_IGN)


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _listen_for_stop(**_: Any) -> None:
    signal.signal(STOP, lambda _number, _frame: deliverer.stop())


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_pool(**_: Any) -> None:
    """Tell the pool at once: Celery would wait for the ends of its tasks, however long they take."""
    for child in active_children():
        with suppress(ProcessLookupError):
            os.kill(child.pid, STOP)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_: Any) -> None:
    deliverer.close()


class BacklogScheduler(Scheduler):  # type: ignore[misc]
    """Sends as many drain tasks as the backlog needs, and none when nothing is due. Keeps no file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.counter = WorkerSite()
        self._trouble = Trouble()
        self._broker = OngoingProblem(
            _log, "No drain task is sent: %s", "Drain tasks are sent again"
        )
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send what is needed beside what still waits in the broker."""
        with deferring(signal.SIGTERM, signal.SIGINT, meanwhile=lambda: None):
            due = self._due()
            for _ in range(self._needed(due) if due else 0):
                super().apply_entry(entry, producer=producer)

    def _due(self) -> int:
        """Return how many mails are due; none when the database does not tell."""
        try:
            due = self.counter.run(_count_due)
        except (DatabaseUnavailable, DBAPIError) as error:
            self._trouble.met(error)
            return 0
        self._trouble.gone()
        return due

    def _needed(self, due: int) -> int:
        """Return how many tasks to send; none when the broker does not tell how many wait."""
        try:
            waiting = self._waiting()
        except Exception as error:  # each transport of kombu's has errors of its own
            self._broker.start(f"{type(error).__name__}: {error}")
            self._forget_connection()
            return 0
        self._broker.end()
        return math.ceil(due / MAILS_PER_TASK) - waiting

    def _waiting(self) -> int:
        """Return how many tasks wait in the broker."""
        queue = celery.amqp.queues[QUEUE].bind(self.producer.channel)
        count: int = queue.queue_declare()[1]
        return count

    def _forget_connection(self) -> None:
        """Connect anew next time; a broker that was mute may be well again."""
        for name in ("connection", "producer"):
            self.__dict__.pop(name, None)

    def close(self) -> None:
        """Close what counting opened."""
        super().close()
        self.counter.close()


async def _count_due(site: Quart) -> int:
    return await count_due(
        site.extensions["database"],
        now=site.extensions["outbox"].clock(),
        most=MAILS_PER_TASK * MOST_TASKS,
    )
