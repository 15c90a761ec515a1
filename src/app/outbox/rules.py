"""The rules of delivery: what a row becomes after what happened. Pure functions; seconds throughout.

| what happened                                  | state   | next attempt         | attempts | pause |
|------------------------------------------------|---------|----------------------|----------|-------|
| the server took it                             | sent    | never                | + 1      | no    |
| the renderer had nothing to say                | skipped | never                | as it is | no    |
| it cannot be rendered                          | failed  | never                | + 1      | no    |
| refused for good (5xx, or it cannot be sent)   | failed  | never                | + 1      | no    |
| refused for now, timed out, broke off          | queued  | after a growing wait | + 1      | no    |
| no server, TLS, login; 421; 5xx greeting       | queued  | when it is probed    | as it is | yes   |
| 421, login wanted, in the middle of this mail  | queued  | after others' probes | as it is | yes   |
| let go: shutdown, or no answer from a database | queued  | now                  | as it is | no    |

`in_doubt` is never taken back, and set by whatever may have happened after the mail's final dot. A row past
its `expires_at` is let go before DATA (`Claim.may_begin`) and moved to `expired` when nobody holds it
(`expire`). A claim that was lost changes nothing: what the new holder does counts.
Source: RFC 5321 4.5.4.1 for growing waits.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from app.outbox.models import Priority, State

RESET_RETRY_MAX = 60.0
"""Nobody waits five minutes for a reset link."""

JITTER = 0.2
PROBE_GROWTH = 1.5


class Event(enum.Enum):
    """What came of an attempt."""

    TAKEN = enum.auto()
    NOTHING = enum.auto()
    UNRENDERED = enum.auto()
    REFUSED = enum.auto()
    DEFERRED = enum.auto()
    TROUBLE = enum.auto()
    TROUBLE_AMID = enum.auto()
    LET_GO = enum.auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event with the reply code and the sentence that came with it."""

    event: Event
    code: int | None = None
    text: str | None = None
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Times:
    """Waits between attempts, in seconds (the OUTBOX_* settings of these names)."""

    retry_first: float = 5
    retry_max: float = 300
    probe_first: float = 2
    probe_max: float = 15


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is written to the row: `wait` in seconds until the next attempt, None when there is none."""

    state: State
    wait: float | None
    attempts: int
    in_doubt: bool
    code: int | None
    text: str | None


_DONE = {
    Event.TAKEN: State.SENT,
    Event.NOTHING: State.SKIPPED,
    Event.UNRENDERED: State.FAILED,
    Event.REFUSED: State.FAILED,
}
PAUSING = frozenset({Event.TROUBLE, Event.TROUBLE_AMID})
"""After these delivery pauses (see `Pause`): they are about the mail server as a whole."""

_SPENDS_NO_ATTEMPT = PAUSING | {Event.NOTHING, Event.LET_GO}


def settle(
    outcome: Outcome, *, attempts: int, in_doubt: bool, priority: int, times: Times, jitter: float
) -> Settlement:
    """Return what a row with `attempts` behind it becomes; `jitter` is in [-1, 1]."""
    if outcome.event not in _SPENDS_NO_ATTEMPT:
        attempts += 1
    return Settlement(
        state=_DONE.get(outcome.event, State.QUEUED),
        wait=_wait(outcome.event, attempts, priority, times, jitter),
        attempts=attempts,
        in_doubt=in_doubt or outcome.in_doubt,
        code=outcome.code,
        text=outcome.text,
    )


def _wait(event: Event, attempts: int, priority: int, times: Times, jitter: float) -> float | None:
    if event in _DONE:
        return None
    if event is Event.DEFERRED:
        return retry_wait(attempts, priority, times, jitter)
    if event is Event.TROUBLE_AMID:
        return 2 * times.probe_max
    return 0.0


def retry_wait(attempts: int, priority: int, times: Times, jitter: float) -> float:
    """Return the wait after failed attempt number `attempts` (from 1): doubling, capped, then ±20 %."""
    longest = times.retry_max
    if priority == Priority.RESET:
        longest = min(longest, RESET_RETRY_MAX)
    doublings = min(max(attempts, 1) - 1, 60)
    return min(times.retry_first * 2.0**doublings, longest) * (1 + JITTER * jitter)


def probe_wait(probes: int, times: Times) -> float:
    """Return the wait before probe number `probes` (from 0) of a paused server: growing by half."""
    return min(times.probe_first * PROBE_GROWTH ** min(probes, 60), times.probe_max)
