"""The delivery policy, exhaustively: every event, attempt, doubt and priority against the table."""

from __future__ import annotations

import itertools

import pytest

from app.outbox import policy
from app.outbox.models import DONE_STATES, Priority, State
from app.outbox.policy import OPENS_BREAKER, Event, Outcome, RetryTimes, Settlement, probe_wait, retry_wait

TIMES = RetryTimes(retry_first=5, retry_max=300, probe_first=2, probe_max=15)

TABLE = {  # event: state, is there a next attempt, attempts spent, pauses
    Event.ACCEPTED: (State.SENT, False, 1, False),
    Event.NOT_NEEDED: (State.SKIPPED, False, 0, False),
    Event.POSTPONED: (State.QUEUED, True, 0, False),
    Event.UNRENDERED: (State.FAILED, False, 1, False),
    Event.REFUSED: (State.FAILED, False, 1, False),
    Event.DEFERRED: (State.QUEUED, True, 1, False),
    Event.SERVER_DOWN: (State.QUEUED, True, 0, True),
    Event.SERVER_DOWN_MID_MESSAGE: (State.QUEUED, True, 0, True),
    Event.RELEASED: (State.QUEUED, True, 0, False),
}


def decide(
    outcome: Outcome, attempts: int = 0, in_doubt: bool = False, priority: int = Priority.NORMAL
) -> Settlement:
    return policy.decide(
        outcome, attempts=attempts, in_doubt=in_doubt, priority=priority, times=TIMES, jitter=0
    )


def test_the_table_has_a_row_for_every_event() -> None:
    assert set(TABLE) == set(Event)


@pytest.mark.parametrize("event", Event)
def test_what_follows_from_what(event: Event) -> None:
    state, goes_on, spent, pauses = TABLE[event]
    for attempts, was, now, priority in itertools.product(range(12), (False, True), (False, True), Priority):
        settlement = decide(Outcome(event, 451, "words", now), attempts, was, priority)
        assert settlement.state is state
        assert (settlement.wait is not None) is goes_on
        assert settlement.attempts == attempts + spent
        assert (event in OPENS_BREAKER) is pauses
        assert settlement.in_doubt is (was or now)
        assert (settlement.code, settlement.text) == (451, "words")


@pytest.mark.parametrize("event", Event)
def test_done_states_are_exactly_those_without_a_next_attempt(event: Event) -> None:
    settlement = decide(Outcome(event))
    assert (settlement.state in DONE_STATES) is (settlement.wait is None)


def test_a_postponed_mail_waits_as_long_as_its_renderer_says() -> None:
    assert decide(Outcome(Event.POSTPONED, wait=600.0), attempts=3).wait == 600.0


def test_waits_double_up_to_the_longest() -> None:
    waits = [decide(Outcome(Event.DEFERRED), attempts).wait for attempts in range(9)]
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_reset_never_waits_longer_than_a_minute() -> None:
    waits = [decide(Outcome(Event.DEFERRED), attempts, priority=Priority.RESET).wait for attempts in range(9)]
    assert waits == [5, 10, 20, 40, 60, 60, 60, 60, 60]


def test_waits_stay_finite_after_any_number_of_attempts() -> None:
    assert retry_wait(10**9, Priority.NORMAL, TIMES, 1.0) == 360
    assert probe_wait(10**9, TIMES) == 15


def test_jitter_is_a_fifth_either_way() -> None:
    assert retry_wait(1, Priority.NORMAL, TIMES, -1.0) == 4
    assert retry_wait(1, Priority.NORMAL, TIMES, 1.0) == 6


def test_probes_grow_by_half() -> None:
    assert [probe_wait(probes, TIMES) for probes in range(7)] == [2, 3, 4.5, 6.75, 10.125, 15, 15]


def test_after_a_release_or_a_server_failure_a_mail_is_due_at_once() -> None:
    assert decide(Outcome(Event.RELEASED)).wait == decide(Outcome(Event.SERVER_DOWN)).wait == 0


def test_a_server_failure_during_a_mail_lets_other_mails_probe_first() -> None:
    wait = decide(Outcome(Event.SERVER_DOWN_MID_MESSAGE)).wait
    assert wait is not None
    assert wait > probe_wait(100, TIMES)
