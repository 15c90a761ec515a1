"""While the mail server as a whole is in trouble a courier does nothing, but for a probe now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.outbox.rules import PAUSING, Event, Outcome, Times, probe_wait


class Pause:
    """True while delivery is paused; `remaining` seconds until the next probe."""

    def __init__(self, times: Times, clock: Callable[[], float] = time.monotonic) -> None:
        self._times = times
        self._clock = clock
        self._until: float | None = None
        self._probes = 0

    def __bool__(self) -> bool:
        return self._until is not None

    def remaining(self) -> float:
        """Return the seconds until a probe may be made, 0 when it may."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    def lift(self) -> None:
        """Deliver again."""
        self._until = None
        self._probes = 0

    def learn(self, outcome: Outcome, *, is_probe: bool) -> None:
        """Pause, go on pausing or lift the pause, by what an attempt showed of the server."""
        if outcome.event in PAUSING:
            if self._until is None or is_probe:
                self._until = self._clock() + probe_wait(self._probes, self._times)
                self._probes += 1
        elif outcome.event in (Event.TAKEN, Event.DEFERRED) or outcome.code is not None:
            self.lift()
