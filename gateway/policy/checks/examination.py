"""One check's look at a posture: it reads facts, and remembers what it read, what is wrong and until when that holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.wire import Fact
from gateway.policy import durations, versions
from gateway.policy.checks import values
from gateway.policy.checks.outcome import Outcome
from gateway.policy.model import EvidenceGrade, Posture

Least = Mapping[str, EvidenceGrade] | EvidenceGrade | None
"""The least evidence that counts: of each fact that is named, or of every one."""

CLOCK_SKEW = timedelta(minutes=10)
"""How far a date may lie in the future before it proves nothing: clocks of honest devices differ by less."""


class Examination:
    """What is wrong, and what could not be told: both are reasons to fail, and only the first is knowledge."""

    def __init__(self, posture: Posture, *, now: datetime, least: Least = None) -> None:
        self._posture = posture
        self._now = now
        self._least = least
        self.values: dict[str, str] = {}
        self.lacking = ""
        self._reasons: list[str] = []
        self._refuted = False
        self._changes: list[datetime] = []
        self._evidence: dict[str, Fact] = {}

    @property
    def received_at(self) -> datetime:
        """When the report came, by the gateway's clock."""
        return self._posture.received_at

    def outcome(self, **values: object) -> Outcome:
        """Close the examination; `values` fill in the fix, beside those that were noted on the way."""
        shown = self.values | {name: str(value) for name, value in values.items() if value is not None}
        return Outcome(
            tuple(dict.fromkeys(self._reasons)), min(self._changes, default=None), self._evidence, shown, self._refuted
        )

    def fail(self, reason: str) -> None:
        """Note something that is known to be wrong."""
        self._reasons.append(reason)
        self._refuted = True

    def doubt(self, reason: str) -> None:
        """Note something that cannot be told. It fails the check as well, and proves nothing."""
        self._reasons.append(reason)

    def known(self, name: str, sound: values.Sound) -> Any:
        """Read a value that may be missing without that being a failure yet; `lacking` says why it is."""
        before = len(self._reasons)
        value = self._read(name, sound)
        self.lacking = "; ".join(filter(None, [self.lacking, *self._reasons[before:]]))
        del self._reasons[before:]
        return value

    def flag(self, name: str) -> bool | None:
        """Read true or false; None is a failure that has been noted, here and in all readers below."""
        value = self._read(name, values.is_flag)
        return None if value is None else bool(value)

    def count(self, name: str) -> int | None:
        value = self._read(name, values.is_count)
        return None if value is None else int(value)

    def seconds(self, name: str) -> float | None:
        value = self._read(name, values.is_seconds)
        return None if value is None else float(value)

    def text(self, name: str) -> str | None:
        value = self._read(name, values.is_text)
        return None if value is None else str(value)

    def texts(self, name: str) -> list[str] | None:
        value = self._read(name, values.is_texts)
        return None if value is None else list(value)

    def map(self, name: str) -> dict[str, str] | None:
        value = self._read(name, values.is_map)
        return None if value is None else dict(value)

    def certificates(self, name: str) -> list[dict[str, Any]] | None:
        value = self._read(name, values.is_certificates)
        return None if value is None else list(value)

    def custom(self, name: str) -> dict[str, Any] | None:
        value = self._read(name, values.is_custom)
        return None if value is None else dict(value)

    def moment(self, name: str) -> datetime | None:
        value = self._read(name, values.is_time)
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

    def ahead(self, what: str, at: datetime | None, margin: timedelta) -> None:
        """Fail unless `at` lies more than `margin` in the future."""
        if at is None:
            return
        if at - margin > self._now:
            self._changes.append(at - margin)
        else:
            self.fail(f"{what} {_shown(at)}{_less_than(margin)}")

    def valid(self, otherwise: str, spans: Sequence[tuple[datetime, datetime]]) -> None:
        """Fail unless now lies within one of the spans of time."""
        ends = [end for begin, end in spans if begin <= self._now < end]
        if ends:
            self._changes.append(max(ends))
            return
        self.fail(otherwise)
        self._changes += [begin for begin, end in spans if self._now < begin < end]

    def version(
        self, name: str, required: versions.Requirement, what: str, scheme: versions.Scheme = versions.DOTTED
    ) -> None:
        found = self.text(name)
        try:
            if found is not None and not required.met_by(found, scheme):
                self.fail(f"{what} is {found}, and {required.text} is required")
        except ValueError:
            self.doubt(f"{what} is {found!r}, which is not a version")

    def _read(self, name: str, sound: values.Sound) -> Any:
        """Give the fact's value, or None after noting why there is none that can be judged."""
        fact = self._posture.facts.get(name)
        if fact is None:
            self.doubt(f"{name} was not reported")
            return None
        self._evidence[name] = fact
        if fact.absent is not None:
            self.doubt(f"{name} could not be read: {_printable(fact.absent)}")
        elif not sound(fact.value):
            self.doubt(f"{name} was reported as something other than {values.CALLED[sound]}")
        elif self._trusts(name):
            return fact.value
        return None

    def _trusts(self, name: str) -> bool:
        least = self._least.get(name) if isinstance(self._least, Mapping) else self._least
        grade = self._posture.grade_of(name)
        if least is None or grade >= least:
            return True
        self.doubt(f"{name} is only {grade.written}, and {least.written} is required")
        return False


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _printable(text: str) -> str:
    """Keep a device's own words from moving a cursor or filling a screen."""
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip() or "no reason given"


def _less_than(margin: timedelta) -> str:
    return f", and {durations.show(margin)} must remain" if margin else ""
