"""How the pump waits: asleep, or for a moment awake.

Waking a sleeping process takes longer than everything that we do with a small packet, and its answer usually comes soon.
So after small traffic the pump looks again and again before it sleeps. An allowance bounds what that costs: an idle
tunnel uses no processor at all, a busy one at most SHARE of a core for looking.
"""

from __future__ import annotations

import os
import select
import time
from typing import Final

AWAKE: Final = 0.000_4
"""Seconds of looking after a small packet: longer than a round trip in a data centre."""
SHARE: Final = 0.1
"""Part of the time that may be spent on looking."""
SAVED: Final = 0.05
"""Seconds of looking that a quiet time saves up."""


class Vigil:
    """An epoll that can be waited for in either way."""

    def __init__(self, poll: select.epoll, *, awake: bool | None = None) -> None:
        """`awake` False always sleeps; None decides by whether another core can do the rest meanwhile."""
        self._poll = poll
        self._awake = (os.cpu_count() or 1) > 1 if awake is None else awake
        self._allowance = 0.0
        self._counted_at = time.monotonic()

    def wait(self, seconds: float, *, expecting: bool) -> list[tuple[int, int]]:
        """Give what is ready within `seconds`. `expecting` says that something small has just passed."""
        if expecting and self._awake:
            found = self._look(min(AWAKE, seconds))
            if found:
                return found
        return self._poll.poll(max(seconds, 0.0))

    def _look(self, seconds: float) -> list[tuple[int, int]]:
        began = now = time.monotonic()
        self._allowance = min(SAVED, self._allowance + (began - self._counted_at) * SHARE)
        until = began + min(seconds, self._allowance)
        found: list[tuple[int, int]] = []
        while now < until and not (found := self._poll.poll(0)):
            os.sched_yield()
            now = time.monotonic()
        self._counted_at = time.monotonic()
        self._allowance -= self._counted_at - began
        return found
