"""The scheduler of `celery -A app.worker beat`."""

import logging
import math
import signal
from typing import Any

from celery.beat import Scheduler
from sqlalchemy.exc import DBAPIError

from app.database import DatabaseUnavailable
from app.logs import OngoingProblem
from app.outbox.courier import DatabaseProblem
from app.outbox.queries import count_due
from app.worker.runner import AppRunner, deferring

MAILS_PER_TASK = 50
MAX_TASKS = 16  # waiting in the broker; more would only pile up while no worker runs

_log = logging.getLogger(__name__)


class BacklogScheduler(Scheduler):  # type: ignore[misc]
    """Send as many drain tasks as the backlog needs: none when no mail is due. Uses no schedule file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._runner = AppRunner()
        self._database_problem = DatabaseProblem()
        self._broker_problem = OngoingProblem(
            _log,
            "The broker is not reachable, so no drain tasks are sent: %s",
            "The broker is reachable again; sending drain tasks",
        )
        super().__init__(*args, **kwargs)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the tasks that are needed beside those still waiting in the broker."""
        with deferring(signal.SIGTERM, signal.SIGINT, meanwhile=lambda: None):
            due = self._count_due()
            for _ in range(self._tasks_needed(due) if due else 0):
                super().apply_entry(entry, producer=producer)

    def close(self) -> None:
        """Close the scheduler and the connections that counting opened."""
        super().close()
        self._runner.close()

    def _count_due(self) -> int:
        """Return how many mails are due; 0 while the database is not available."""
        try:
            due = self._runner.run(
                lambda app: count_due(
                    app.extensions["database"],
                    now=app.extensions["outbox"].clock(),
                    most=MAILS_PER_TASK * MAX_TASKS,
                )
            )
        except (DatabaseUnavailable, DBAPIError) as error:
            self._database_problem.record(error)
            return 0
        self._database_problem.end()
        return due

    def _tasks_needed(self, due: int) -> int:
        """Return how many tasks to send; 0 while the broker is not reachable."""
        try:
            queues = self.app.amqp.queues
            queue = queues[self.app.conf.task_default_queue].bind(self.producer.channel)
            waiting: int = queue.queue_declare()[1]
        except Exception as error:  # every kombu transport raises its own errors
            self._broker_problem.start(f"{type(error).__name__}: {error}")
            # Connect again next time: an unresponsive broker may have recovered.
            for name in ("connection", "producer"):  # cached properties of Celery's Scheduler
                self.__dict__.pop(name, None)
            return 0
        self._broker_problem.end()
        return math.ceil(due / MAILS_PER_TASK) - waiting
