"""One check's look at a posture: it reads facts, and remembers what it read, what is wrong and until when that holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.wire import Fact
from gateway.policy import durations, versions
from gateway.policy.checks.check import MOST, Outcome
from gateway.policy.model import Posture

CLOCK_SKEW = timedelta(minutes=10)
"""How far a date may lie in the future before it proves nothing: clocks of honest devices differ by less."""

LATEST = 4_000_000_000
"""Unix seconds in the year 2096; what lies beyond is not a date that anybody meant."""


class Examination:
    """What is wrong, and what could not be told: both are reasons to fail, and only the first is knowledge."""

    def __init__(self, posture: Posture, *, now: datetime) -> None:
        self._posture = posture
        self._now = now
        self._reasons: list[str] = []
        self._refuted = False
        self._changes: list[datetime] = []
        self._evidence: dict[str, Fact] = {}

    def outcome(self, **values: object) -> Outcome:
        """Close the examination; `values` fill in the fix."""
        shown = {name: str(value) for name, value in values.items() if value is not None}
        return Outcome(tuple(self._reasons), min(self._changes, default=None), self._evidence, shown, self._refuted)

    def fail(self, reason: str) -> None:
        """Note something that is known to be wrong."""
        self._reasons.append(reason)
        self._refuted = True

    def doubt(self, reason: str) -> None:
        """Note something that cannot be told. It fails the check as well, and proves nothing."""
        self._reasons.append(reason)

    def flag(self, name: str) -> bool | None:
        """Read true or false; None is a failure that has been noted, here and in all readers below."""
        value = self._read(name, lambda v: isinstance(v, bool), "true or false")
        return None if value is None else bool(value)

    def count(self, name: str) -> int | None:
        value = self._read(name, lambda v: type(v) is int and 0 <= v <= MOST, f"a whole number up to {MOST}")
        return None if value is None else int(value)

    def text(self, name: str) -> str | None:
        value = self._read(name, lambda v: isinstance(v, str) and 0 < len(v) <= 200 and v.isprintable(), "a short text")
        return None if value is None else str(value)

    def moment(self, name: str) -> datetime | None:
        value = self._read(name, lambda v: type(v) in (int, float) and 0 < v < LATEST, "a time in Unix seconds")
        return None if value is None else datetime.fromtimestamp(value, UTC)

    def younger(self, what: str, at: datetime | None, limit: timedelta) -> None:
        """Fail unless `at` lies less than `limit` in the past. Reasons name dates, not ages: ages change while read."""
        if at is None:
            return
        if at > self._now + CLOCK_SKEW:
            self.doubt(f"{what} {_shown(at)}, which lies in the future")
            self._changes.append(at - CLOCK_SKEW)
        elif self._now - at >= limit:
            self.fail(f"{what} {_shown(at)}, which is {durations.show(limit)} ago or more")
        else:
            self._changes.append(at + limit)

    def version(self, name: str, required: versions.Requirement, what: str) -> None:
        found = self.text(name)
        try:
            if found is not None and not required.met_by(found):
                self.fail(f"{what} is {found}, and {required.text} is required")
        except ValueError:
            self.doubt(f"{what} is {found!r}, which is not a version")

    def _read(self, name: str, sound: Callable[[Any], bool], kind: str) -> Any:
        """Give the fact's value, or None after noting why there is none that can be judged."""
        fact = self._posture.facts.get(name)
        if fact is None:
            self.doubt(f"{name} was not reported")
            return None
        self._evidence[name] = fact
        if fact.absent is not None:
            self.doubt(f"{name} could not be read: {_printable(fact.absent)}")
        elif not sound(fact.value):
            self.doubt(f"{name} was reported as something other than {kind}")
        else:
            return fact.value
        return None


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _printable(text: str) -> str:
    """Keep a device's own words from moving a cursor or filling a screen."""
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip() or "no reason given"
