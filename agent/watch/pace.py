"""When to ask a collector that something concerns: at once when it was quiet, and never so often that it costs much. Pure.

A storm of changes is gathered until the collector has rested; the instant is set by the first change and not moved by
later ones, so a storm without end cannot starve the report.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

REST: Final = 4.0
"""A collector rests four times as long as it took: it never has more than a fifth of a core."""
LEAST: Final = 0.02
MOST: Final = 5.0


class Pace:
    """The collectors that wait for their turn. `now` is seconds of any steady clock."""

    def __init__(self) -> None:
        self._rested_at: dict[str, float] = {}
        self._waiting: set[str] = set()

    def concerns(self, names: Iterable[str]) -> None:
        """Something has changed."""
        self._waiting |= set(names)

    def take(self, *, now: float) -> frozenset[str]:
        """The collectors to ask now."""
        due = frozenset(name for name in self._waiting if self._rested_at.get(name, now) <= now)
        self._waiting -= due
        return due

    def asked(self, name: str, *, took: float, now: float) -> None:
        """A collector was asked, and took so long."""
        self._rested_at[name] = now + min(max(LEAST, REST * took), MOST)

    def next(self) -> float | None:
        """When the first of those that wait has rested; None when none waits."""
        return min((self._rested_at.get(name, 0.0) for name in self._waiting), default=None)
