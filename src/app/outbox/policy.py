"""The delivery policy: what each outcome of an attempt means. No input or output; times in seconds.

| outcome                                       | state   | next attempt            | attempts | breaker |
|-----------------------------------------------|---------|-------------------------|----------|---------|
| accepted by the server                        | sent    | none                    | + 1      | closes  |
| the renderer returned nothing                 | skipped | none                    | + 0      |         |
| the renderer postponed the mail               | queued  | at the time it returned | + 0      |         |
| rendering failed, or the row is unreadable    | failed  | none                    | + 1      |         |
| refused permanently (5xx, or cannot be sent)  | failed  | none                    | + 1      | closes  |
| refused temporarily, timed out, disconnected  | queued  | after a growing wait    | + 1      | closes  |
| no connection, TLS or login failed, 421       | queued  | when the breaker probes | + 0      | opens   |
| MAIL_DEFAULT_SENDER refused permanently       | queued  | when the breaker probes | + 0      | opens   |
| 421 or "login required" during this mail      | queued  | after other mails' probes | + 0    | opens   |
| released: shutdown or database unavailable    | queued  | at once                 | + 0      |         |

`in_doubt` is set when the final dot may have been sent without a reply, and is never cleared. A row past its
`expires_at` is released before DATA (`Claim.may_send`) and moved to `expired` once no one owns it. Nothing is
written for a claim that was lost: the new owner's outcome counts.
Source of the growing waits: RFC 5321 4.5.4.1.
"""

import asyncio
import enum
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.outbox.models import Priority, State

RESET_RETRY_MAX = 60.0
"""The longest wait before a reset mail is retried; somebody is waiting for it."""

JITTER = 0.2
PROBE_GROWTH = 1.5
SENDING_PER_CONNECTION = 2
CLAIMS_PER_CONNECTION = 24


class Event(enum.Enum):
    """What happened in an attempt."""

    ACCEPTED = enum.auto()
    NOT_NEEDED = enum.auto()
    POSTPONED = enum.auto()
    UNRENDERED = enum.auto()
    REFUSED = enum.auto()
    DEFERRED = enum.auto()
    SERVER_DOWN = enum.auto()
    SERVER_DOWN_MID_MESSAGE = enum.auto()
    RELEASED = enum.auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event, with the server's reply or an error message; `wait`: for how many seconds to postpone."""

    event: Event
    code: int | None = None
    text: str | None = None
    in_doubt: bool = False
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class RetryTimes:
    """Waits between attempts, in seconds (the OUTBOX_* settings of the same names)."""

    retry_first: float = 5
    retry_max: float = 300
    probe_first: float = 2
    probe_max: float = 15


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to write to the row. `wait`: seconds until the next attempt, None when there is none."""

    state: State
    wait: float | None
    attempts: int
    in_doubt: bool
    code: int | None
    text: str | None


_FINAL_STATES = {
    Event.ACCEPTED: State.SENT,
    Event.NOT_NEEDED: State.SKIPPED,
    Event.UNRENDERED: State.FAILED,
    Event.REFUSED: State.FAILED,
}
OPENS_BREAKER = frozenset({Event.SERVER_DOWN, Event.SERVER_DOWN_MID_MESSAGE})
"""Events that concern the mail server as a whole and open the circuit breaker."""

_NO_ATTEMPT = OPENS_BREAKER | {Event.NOT_NEEDED, Event.POSTPONED, Event.RELEASED}


def decide(
    outcome: Outcome, *, attempts: int, in_doubt: bool, priority: int, times: RetryTimes, jitter: float
) -> Settlement:
    """Return what a row with `attempts` so far becomes; `jitter` is in [-1, 1]."""
    if outcome.event not in _NO_ATTEMPT:
        attempts += 1
    return Settlement(
        state=_FINAL_STATES.get(outcome.event, State.QUEUED),
        wait=_wait(outcome, attempts, priority, times, jitter),
        attempts=attempts,
        in_doubt=in_doubt or outcome.in_doubt,
        code=outcome.code,
        text=outcome.text,
    )


def _wait(outcome: Outcome, attempts: int, priority: int, times: RetryTimes, jitter: float) -> float | None:
    if outcome.event in _FINAL_STATES:
        return None
    if outcome.event is Event.DEFERRED:
        return retry_wait(attempts, priority, times, jitter)
    if outcome.event is Event.SERVER_DOWN_MID_MESSAGE:
        return 2 * times.probe_max  # probes are at most probe_max apart, so another mail is tried meanwhile
    return outcome.wait


def retry_wait(attempts: int, priority: int, times: RetryTimes, jitter: float) -> float:
    """Return the wait after failed attempt number `attempts` (from 1): doubling, capped, then ±20 %."""
    longest = times.retry_max
    if priority == Priority.RESET:
        longest = min(longest, RESET_RETRY_MAX)
    doublings = min(max(attempts, 1) - 1, 60)
    return min(times.retry_first * 2.0**doublings, longest) * (1 + JITTER * jitter)


def probe_wait(probes: int, times: RetryTimes) -> float:
    """Return the wait before probe number `probes` (from 0) of a server that is down."""
    return min(times.probe_first * PROBE_GROWTH ** min(probes, 60), times.probe_max)


class CircuitBreaker:
    """Stops delivery while the mail server is down, except for one probe at a time."""

    def __init__(self, times: RetryTimes, clock: Callable[[], float] = time.monotonic) -> None:
        self._times = times
        self._clock = clock
        self._probe_at: float | None = None
        self._probes = 0

    @property
    def is_open(self) -> bool:
        """Whether delivery is stopped."""
        return self._probe_at is not None

    def remaining(self) -> float:
        """Return the seconds until the next probe, 0 when it may be made."""
        return 0.0 if self._probe_at is None else max(0.0, self._probe_at - self._clock())

    def close(self) -> None:
        """Let delivery go on."""
        self._probe_at = None
        self._probes = 0

    def record(self, outcome: Outcome, *, is_probe: bool) -> None:
        """Open, stay open or close, depending on what an attempt showed about the server."""
        if outcome.event in OPENS_BREAKER:
            if self._probe_at is None or is_probe:
                self._probe_at = self._clock() + probe_wait(self._probes, self._times)
                self._probes += 1
        elif outcome.event in (Event.ACCEPTED, Event.DEFERRED) or outcome.code is not None:
            self.close()


@dataclass(frozen=True, slots=True)
class ClaimLimit:
    """How many rows to claim: `total`, of which at most `bulk` are not resets."""

    total: int
    bulk: int


class Capacity:
    """What `connections` to the mail server can use: enough claims that no connection is idle.

    `sending` and `claims`: the most rows in `sending`, and the most claimed rows, at once.
    """

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self.sending = SENDING_PER_CONNECTION * connections
        self.claims = CLAIMS_PER_CONNECTION * connections

    def free(self, priorities: Collection[int]) -> ClaimLimit:
        """Return how many rows to claim in addition to those of `priorities`; one is reserved for a reset."""
        total = self.claims - len(priorities)
        bulk = self.claims - 1 - sum(priority != Priority.RESET for priority in priorities)
        return ClaimLimit(max(0, total), max(0, min(total, bulk)))

    def is_low(self, claims: int) -> bool:
        """Return whether to claim more: once half of the claims are done, so that each claim takes many."""
        return claims <= self.claims // 2


class PrioritySemaphore:
    """At most `size` holders, of which at most `size - 1` (but at least one) are not resets."""

    def __init__(self, size: int) -> None:
        self._all = asyncio.Semaphore(size)
        self._bulk = asyncio.Semaphore(max(1, size - 1))

    @asynccontextmanager
    async def acquire(self, priority: int) -> AsyncIterator[None]:
        """Wait for a slot and hold it for the block."""
        if priority == Priority.RESET:
            async with self._all:
                yield
        else:
            async with self._bulk, self._all:
                yield
