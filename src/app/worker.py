"""Delivery by Celery: `celery -A app.worker worker` and `celery -A app.worker beat`, for MAIL_COURIER=celery.

The outbox is the truth and the broker only a bell: beat rings it, with tasks that say nothing but "drain", as
often as the backlog needs; whatever the broker loses or doubles changes nothing. The web process never
talks to the broker.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from celery import Celery, signals
from celery.beat import Scheduler
from quart import Quart

from app import create_app, settings
from app.database import DatabaseUnavailable
from app.outbox.agenda import count_due
from app.outbox.courier import Courier

QUEUE = "mail"
DRAIN = "app.worker.drain"
DRAIN_SECONDS = 10.0
"""How long one task goes on claiming; SIGTERM waits for the end of a task."""
MAILS_PER_TASK = 50
MOST_TASKS = 16
"""Tasks waiting in the broker; there is no use in more, and while no worker lives they would pile up."""
BROKER_SECONDS = 5
"""How long a mute broker may keep us waiting."""

T = TypeVar("T")
_log = logging.getLogger(__name__)
_config = settings.load()

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


class Process:
    """The site of one worker process and the loop it lives on, made at first use and kept.

    One loop for all tasks keeps connections to mail server and database between them.
    """

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._site: Quart | None = None

    def run(self, work: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
        """Return what `work` returns, run in the site's context."""
        if self._runner is None or self._site is None:
            self._runner, self._site = asyncio.Runner(), create_app()
        return self._runner.run(_inside(self._site, work))

    def close(self, **_: Any) -> None:
        """Close connections and loop."""
        if self._runner is not None:
            self.run(_take_down)
            self._runner.close()
        self._runner = self._site = None


async def _inside(site: Quart, work: Callable[[Quart], Coroutine[Any, Any, T]]) -> T:
    async with site.app_context():
        return await work(site)


async def _take_down(site: Quart) -> None:
    await site.extensions["mail_pool"].close()
    await site.extensions["database"].dispose()


process = Process()
signals.worker_process_shutdown.connect(process.close)
signals.worker_shutdown.connect(process.close)


@celery.task(name=DRAIN)  # type: ignore[untyped-decorator]
def drain() -> None:
    """Deliver what is due."""
    try:
        process.run(_drain)
    except DatabaseUnavailable as error:
        _log.warning("The outbox cannot be read: %s", error)


async def _drain(site: Quart) -> None:
    courier: Courier = site.extensions["outbox_courier"]
    await courier.drain(seconds=DRAIN_SECONDS, is_patient=True)


class BacklogScheduler(Scheduler):  # type: ignore[misc]
    """Sends as many drain tasks as the backlog needs, and none when nothing is due. Keeps no file."""

    process = Process()

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send what is needed beside what still waits in the broker."""
        try:
            due = self.process.run(_count_due)
            needed = math.ceil(due / MAILS_PER_TASK) - self._waiting() if due else 0
        except Exception as error:
            _log.warning("No drain task is sent: %s: %s", type(error).__name__, error)
            self._forget_connection()
            return
        for _ in range(needed):
            super().apply_entry(entry, producer=producer)

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
        self.process.close()


async def _count_due(site: Quart) -> int:
    return await count_due(
        site.extensions["database"],
        now=site.extensions["outbox"].clock(),
        most=MAILS_PER_TASK * MOST_TASKS,
    )
