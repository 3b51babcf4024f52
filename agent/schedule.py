"""When to do what: heartbeat, full collection, back-off. Pure: `now` is CLOCK_BOOTTIME seconds, which count sleep."""

from __future__ import annotations

from typing import Final

FULL_EVERY: Final = 300.0
"""Seconds between two collections of everything; a tenth of it is jitter, so that a fleet does not move in step."""
BACK_OFF: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds after the first, second, … failure in a row: never longer than leaves two tries in a lease of 60 s."""
ASLEEP: Final = 5.0
"""The clock that counts sleep ran so much further than the one that does not: the machine slept."""


class Schedule:
    """The deadlines of one session."""

    def __init__(self, *, now: float, heartbeat: float, jitter: float) -> None:
        """`heartbeat` in seconds; `jitter` from 0 to 1."""
        self._jitter = jitter
        self._failures = 0
        self.reported(now=now, heartbeat=heartbeat)
        self.collected(now=now)

    def reported(self, *, now: float, heartbeat: float) -> None:
        """A report was accepted."""
        self._failures = 0
        self._report_at = now + heartbeat

    def failed(self, *, now: float) -> None:
        """A report did not get through."""
        self._report_at = now + back_off(self._failures)
        self._failures += 1

    def hurry(self, *, now: float) -> None:
        """Report soon, unless the back-off says when: within a second, in which a fleet spreads."""
        if not self.failing:
            self._report_at = min(self._report_at, now + self._jitter)

    def collected(self, *, now: float) -> None:
        """Everything has been collected."""
        self._full_at = now + FULL_EVERY * (1 - 0.1 * self._jitter)

    @property
    def failing(self) -> bool:
        """Whether the last report did not get through: a change then waits for the back-off like everything else."""
        return self._failures > 0

    def report_due(self, *, now: float) -> bool:
        return now >= self._report_at

    def full_due(self, *, now: float) -> bool:
        return now >= self._full_at

    def next(self) -> float:
        """The next instant at which something is due."""
        return min(self._report_at, self._full_at)


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return BACK_OFF[min(failures, len(BACK_OFF) - 1)]


class SleepDetector:
    """Notices that the machine slept, from the two clocks."""

    def __init__(self, *, boottime: float, monotonic: float) -> None:
        self._asleep = boottime - monotonic

    def slept(self, *, boottime: float, monotonic: float) -> bool:
        """Whether it slept since the last look."""
        before, self._asleep = self._asleep, boottime - monotonic
        return self._asleep - before > ASLEEP
