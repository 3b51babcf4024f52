"""When a collector is asked: at once after quiet, never without rest, and a storm without end does not put it off."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.watch.pace import LEAST, MOST, REST, Pace


def test_after_quiet_a_change_is_looked_at_at_once() -> None:
    pace = Pace()
    pace.concerns(["firewall"])
    assert pace.take(now=0.0) == {"firewall"}
    assert pace.take(now=0.0) == frozenset()
    assert pace.next() is None


def test_a_collector_rests_as_long_as_it_cost_and_others_do_not_wait_for_it() -> None:
    pace = Pace()
    pace.asked("patches", took=0.5, now=10.0)
    pace.concerns(["patches", "firewall"])
    assert pace.take(now=10.1) == {"firewall"}
    assert pace.next() == 10.0 + REST * 0.5
    assert pace.take(now=10.0 + REST * 0.5) == {"patches"}


ROUNDING = 1e-9
"""Seconds that a sum of many floats may differ from the same sum in another order."""


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=60), st.floats(0.0, 3.0))
def test_a_storm_is_gathered_and_never_starves(gaps: list[float], took: float) -> None:
    pace, now, asked = Pace(), 0.0, [0.0]
    pace.asked("firewall", took=took, now=0.0)
    rest = min(max(LEAST, REST * took), MOST)
    waiting_since: float | None = None
    for gap in gaps:
        now += gap
        pace.concerns(["firewall"])
        waiting_since = waiting_since or now
        if pace.take(now=now):
            assert now - asked[-1] >= rest - ROUNDING
            pace.asked("firewall", took=took, now=now)
            asked.append(now)
            waiting_since = None
        else:
            assert now - asked[-1] < rest + ROUNDING, "what waits waits for its rest and for nothing else"
            assert pace.next() == asked[-1] + rest
