"""When to report, when to collect, when to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.schedule import BACK_OFF, FULL_EVERY, Schedule, SleepDetector, back_off


def test_a_report_is_due_one_heartbeat_after_the_last() -> None:
    schedule = Schedule(now=100.0, heartbeat=20.0, jitter=0.0)
    assert not schedule.report_due(now=119.9)
    assert schedule.report_due(now=120.0)
    schedule.reported(now=121.0, heartbeat=10.0)
    assert schedule.next() == 131.0


def test_a_failed_report_is_tried_again_later_and_later_and_then_forgotten() -> None:
    schedule, now, waits = Schedule(now=0.0, heartbeat=20.0, jitter=0.0), 0.0, []
    for _ in range(8):
        schedule.failed(now=now)
        waits.append(schedule.next() - now)
        assert schedule.failing
        now = schedule.next()
    assert waits == [*BACK_OFF, BACK_OFF[-1], BACK_OFF[-1]]
    schedule.reported(now=now, heartbeat=20.0)
    assert not schedule.failing
    schedule.failed(now=now)
    assert schedule.next() - now == BACK_OFF[0]


def test_a_report_can_be_hurried_but_not_past_the_back_off() -> None:
    schedule = Schedule(now=0.0, heartbeat=20.0, jitter=0.25)
    schedule.hurry(now=5.0)
    assert schedule.next() == 5.25
    schedule.reported(now=5.25, heartbeat=20.0)
    schedule.hurry(now=25.2)
    assert schedule.next() == 25.25
    for _ in range(4):
        schedule.failed(now=30.0)
    schedule.hurry(now=30.0)
    assert schedule.next() == 30.0 + BACK_OFF[3]


def test_two_tries_fit_into_a_lease_however_long_the_gateway_was_away() -> None:
    assert 2 * max(BACK_OFF) < 60


@pytest.mark.parametrize(("jitter", "at"), [(0.0, FULL_EVERY), (1.0, FULL_EVERY * 0.9)])
def test_everything_is_collected_again_and_no_fleet_moves_in_step(jitter: float, at: float) -> None:
    schedule = Schedule(now=0.0, heartbeat=10_000.0, jitter=jitter)
    assert not schedule.full_due(now=at - 1)
    assert schedule.full_due(now=at)
    schedule.collected(now=at)
    assert not schedule.full_due(now=at)
    assert schedule.next() == pytest.approx(2 * at)


@given(failures=st.integers(min_value=0, max_value=10**9))
def test_a_back_off_is_never_zero_and_never_longer_than_the_last(failures: int) -> None:
    assert BACK_OFF[0] <= back_off(failures) <= BACK_OFF[-1]


def test_a_sleep_is_noticed_once() -> None:
    detector = SleepDetector(boottime=1000.0, monotonic=900.0)
    assert not detector.slept(boottime=1010.0, monotonic=910.0)
    assert detector.slept(boottime=5010.0, monotonic=911.0)
    assert not detector.slept(boottime=5011.0, monotonic=912.0)


def test_a_busy_machine_did_not_sleep() -> None:
    detector = SleepDetector(boottime=1000.0, monotonic=1000.0)
    assert not detector.slept(boottime=2000.0, monotonic=1999.0)
