"""The wall clock, read once at start and carried on by a clock that nobody can set."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from gateway.errors import Unavailable

MOST_DRIFT = timedelta(seconds=30)
"""Half of what a signed request may be off; beyond it one of the two clocks is wrong and nothing new is granted."""


class Clock:
    """UTC that counts sleep and never jumps: a stepped wall clock extends no lease and ends none."""

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)
        self._boot = time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        """Give aware UTC."""
        return self._wall + timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - self._boot)

    def check(self) -> None:
        """Raise Unavailable when the wall clock has been moved away from ours since the start."""
        if not self.right():
            raise Unavailable(
                "clock-moved", "the gateway's clock was moved while it ran; restart it when the clock is right"
            )

    def right(self) -> bool:
        """Say whether the wall clock still agrees with ours."""
        return abs(datetime.now(UTC) - self.now()) <= MOST_DRIFT
