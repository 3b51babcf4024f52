"""What every check has in common: where it leads, its grace and its fix, and how it reads facts.

A check is written in the policy and evaluated here: one frozen dataclass per kind, validated by pydantic, so that the
document and the judgement cannot drift apart. Nothing here knows tiers, grace or subjects; that is `engine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from string import Template
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    Tag,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass

from agent.wire import Fact
from gateway.policy import durations, versions
from gateway.policy.model import Posture

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
"""No unknown keys. The scalar types below refuse every conversion: `enabled: 1` is an error and not a yes."""

CLOCK_SKEW = timedelta(minutes=10)
"""How far a date may lie in the future before it proves nothing: clocks of honest devices differ by less."""

MOST = 1_000_000_000
"""No honest count is larger."""

PLATFORM = "os.family"
"""The fact that says for which platform a fix is meant."""

LATEST = 4_000_000_000
"""Unix seconds in the year 2096; what lies beyond is not a date that anybody meant."""


def _demanded(value: object) -> object:
    if value is not True:
        raise ValueError("must be true; leave the key out where it does not matter")
    return value


Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1000)]
Flag = Annotated[bool, Strict()]
Demanded = Annotated[Literal[True], BeforeValidator(_demanded)]
Count = Annotated[int, Strict(), Field(ge=0, le=MOST)]
Duration = Annotated[
    timedelta,
    BeforeValidator(durations.parse),
    WithJsonSchema({"type": "string", "pattern": durations.PATTERN, "examples": ["60s", "30m", "12h", "3d"]}),
]
Requirement = Annotated[
    versions.Requirement,
    BeforeValidator(versions.requirement),
    PlainSerializer(lambda required: required.text),
    WithJsonSchema({"type": "string", "pattern": versions.REQUIREMENT, "examples": ["12", ">= 12.5", ">= 2.4, < 3"]}),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check saw. No reasons: it passed. `changes_at`: when time alone could make the answer another one."""

    reasons: tuple[str, ...]
    changes_at: datetime | None
    evidence: Mapping[str, Fact]
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Fixes:
    """What the user is told to do, by platform. `$minimum` and the like are filled in by the check."""

    linux: Text | None = None
    darwin: Text | None = None
    windows: Text | None = None


Fix = Annotated[
    Annotated[Text, Tag("text")] | Annotated[Fixes, Tag("platforms")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "platforms"),
]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Check:
    """The keys that every check may carry besides its own."""

    default_fixes: ClassVar[Mapping[str, str]] = {}
    needs_one_of: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[tuple[str, ...]] = ()

    otherwise: Text | None = None
    """The tier of a device that fails the check."""
    warn: Flag = False
    """True: show the finding and change nothing. Takes the place of `otherwise`."""
    grace: Duration | None = None
    """How long after the first failure the finding only warns."""
    fix: Fix | None = None
    """What to do, for all platforms or for each."""

    def __post_init__(self) -> None:
        if self.warn == (self.otherwise is not None):
            raise ValueError("needs `otherwise: <tier>`, or `warn: true` for a check that only informs, and not both")
        if self.warn and self.grace is not None:
            raise ValueError("has a grace that means nothing: a check that only warns never takes effect")
        if self.needs_one_of and all(getattr(self, name) is None for name in self.needs_one_of):
            raise ValueError(f"asks for nothing; it needs at least one of {', '.join(self.needs_one_of)}")

    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        """Judge the posture. Every kind of check has its own."""
        raise NotImplementedError

    def fix_for(self, platform: str | None, values: Mapping[str, str]) -> str | None:
        """Give the instructions for `platform`: the policy's own, or else those that Sallyport knows.

        `values` come from the policy and from counts, never from a device's texts: people paste fixes into a shell.
        """
        written = self.fix if isinstance(self.fix, str) else getattr(self.fix, platform or "", None)
        text = written or self.default_fixes.get(platform or "")
        return Template(text).safe_substitute(values) if text else None


class Examination:
    """One check's look at a posture: reads facts, and remembers what it read, what is wrong and until when that holds."""

    def __init__(self, posture: Posture, *, now: datetime) -> None:
        self._posture = posture
        self._now = now
        self._reasons: list[str] = []
        self._changes: list[datetime] = []
        self._evidence: dict[str, Fact] = {}

    def outcome(self, **values: object) -> Outcome:
        """Close the examination; `values` fill in the fix."""
        shown = {name: str(value) for name, value in values.items() if value is not None}
        return Outcome(tuple(self._reasons), min(self._changes, default=None), self._evidence, shown)

    def fail(self, reason: str) -> None:
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
            self.fail(f"{what} {_shown(at)}, which lies in the future")
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
            self.fail(f"{what} is {found!r}, which is not a version")

    def _read(self, name: str, sound: Callable[[Any], bool], kind: str) -> Any:
        """Give the fact's value, or None after noting why there is none that can be judged."""
        fact = self._posture.facts.get(name)
        if fact is None:
            self.fail(f"{name} was not reported")
            return None
        self._evidence[name] = fact
        if fact.absent is not None:
            self.fail(f"{name} could not be read: {_printable(fact.absent)}")
        elif not sound(fact.value):
            self.fail(f"{name} was reported as something other than {kind}")
        else:
            return fact.value
        return None


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _printable(text: str) -> str:
    """Keep a device's own words from moving a cursor or filling a screen."""
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip() or "no reason given"
