"""A peer's traffic of one direction, held to a rate: what comes too soon waits for its turn.

The rate is a virtual line of that speed (GCRA, ITU-T I.371): `free_at` is when the line has carried all that it was given.
What would only drop makes TCP lose a super-packet at a time and fall far below the rate; what would queue without end
makes everybody behind it wait. So a packet waits, but never longer than LONGEST.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

AHEAD = 0.002
"""Seconds that a packet may be early: about the precision of epoll's timeout, so that the line does not fall idle."""
LONGEST = 0.03
"""Seconds that a packet waits at most. A TCP with a round trip of 70 ms still fills the line (0.3 / 0.7 of it is enough)."""
MOST = 2 << 20
"""Bytes that wait at most, whatever the rate."""
T = TypeVar("T")


class Pace(Generic[T]):
    """A virtual line of `bits` per second, and what waits for it."""

    __slots__ = ("_bytes", "_free_at", "_held", "bits")

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self._free_at = float("-inf")
        self._held: deque[tuple[float, int, T]] = deque()
        self._bytes = 0

    def admit(self, size: int, *, now: float) -> bool:
        """Say whether `size` bytes may pass at once, and count them if so."""
        if self._held or self._free_at - now > AHEAD:
            return False
        self._occupy(size, now=now)
        return True

    def hold(self, item: T, size: int, *, now: float) -> bool:
        """Keep what was not admitted until its turn; False when that is too far away."""
        if self._free_at - now > LONGEST or self._bytes + size > MOST:
            return False
        self._held.append((self._free_at - AHEAD, size, item))
        self._bytes += size
        self._occupy(size, now=now)
        return True

    def _occupy(self, size: int, *, now: float) -> None:
        self._free_at = max(self._free_at, now) + size * 8 / self.bits

    def next_turn(self) -> float:
        """When the first that waits may pass; infinity when nothing waits."""
        return self._held[0][0] if self._held else float("inf")

    def due(self, *, now: float) -> list[T]:
        """Take what may pass now, in order."""
        items = []
        while self._held and self._held[0][0] <= now:
            _, size, item = self._held.popleft()
            self._bytes -= size
            items.append(item)
        return items

    def clear(self) -> int:
        """Let go of everything that waits, and say how many that were."""
        count, self._bytes = len(self._held), 0
        self._held.clear()
        return count
