"""What every check has in common: whom it concerns, where it leads, its grace, its fix, and what it answers.

A check is written in the policy and evaluated here: one frozen dataclass per kind, validated by pydantic, so that the
document and the judgement cannot drift apart. Nothing here knows tiers, grace or subjects; that is `engine.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from string import Template
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Strict,
    Tag,
    WithJsonSchema,
)
from pydantic.dataclasses import dataclass

from agent.wire import Fact
from gateway.policy import durations, patterns, versions
from gateway.policy.checks.ask import Ask, Screen, together
from gateway.policy.checks.examination import Examination, Least
from gateway.policy.checks.outcome import Outcome
from gateway.policy.checks.values import MOST
from gateway.policy.model import EvidenceGrade, Posture
from gateway.policy.names import PLATFORMS, Device, Group, Link, Name, Owner, Platform, Text

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
"""No unknown keys. The scalar types below refuse every conversion: `enabled: 1` is an error and not a yes."""

PLATFORM = "os.family"
"""The fact that says for which platform a check or a fix is meant."""


def _demanded(value: object) -> object:
    if value is not True:
        raise ValueError("must be true; leave the key out where it does not matter")
    return value


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


Pattern = Annotated[
    patterns.Pattern,
    BeforeValidator(patterns.pattern),
    PlainSerializer(lambda written: written.text),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": patterns.LONGEST, "examples": [".*/(nmap|masscan)"]}
    ),
]


def _grade(text: object) -> EvidenceGrade:
    grades = {grade.written: grade for grade in EvidenceGrade}
    if isinstance(text, EvidenceGrade):
        return text
    if not isinstance(text, str) or text not in grades:
        raise ValueError(f"is no grade of evidence; allowed are {', '.join(grades)}")
    return grades[text]


Grade = Annotated[
    EvidenceGrade,
    BeforeValidator(_grade),
    PlainSerializer(lambda grade: grade.written),
    WithJsonSchema({"type": "string", "enum": [grade.written for grade in EvidenceGrade]}),
]
Evidence = Annotated[
    Annotated[Grade, Tag("grade")] | Annotated[dict[Text, Grade], Field(min_length=1), Tag("facts")],
    Discriminator(lambda value: "facts" if isinstance(value, dict) else "grade"),
]
"""The least that counts: of every fact that the check reads, or of those that are named."""


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
class Check(ABC):
    """The keys that every check may carry besides its own. Inside another check, only `fix` of them."""

    default_fixes: ClassVar[Mapping[str, str]] = {}

    otherwise: Text | None = None
    """The tier of a device that fails the check."""
    warn: Flag = False
    """True: show the finding and change nothing. Takes the place of `otherwise`."""
    grace: Duration | None = None
    """How long after the first failure the finding only warns."""
    severity: Literal["explicit"] | None = None
    """Explicit: a failure that takes effect at once, always."""
    fix: Fix | None = None
    """What to do, for all platforms or for each."""
    platforms: Annotated[list[Platform], Field(min_length=1)] | None = None
    """Whom it concerns; without the keys, everybody. A platform that is not known is concerned."""
    groups: Annotated[list[Group], Field(min_length=1)] | None = None
    devices: Annotated[list[Device], Field(min_length=1)] | None = None
    tags: Annotated[list[Name], Field(min_length=1)] | None = None
    evidence: Evidence | None = None
    """The least evidence that counts; a fact with less counts as not reported."""
    owner: Owner | None = None
    """Who answers for the check, and where its reason is written down: shown with the finding."""
    link: Link | None = None

    def __post_init__(self) -> None:
        unread = sorted(set(self.evidence) - set(self.reads())) if isinstance(self.evidence, dict) else []
        if unread:
            raise ValueError(
                f"has evidence for {unread[0]!r}, which it does not read; it reads {', '.join(self.reads())}"
            )

    @property
    def parts(self) -> list[Check]:
        """The checks that this one is made of: none, for those that look at facts."""
        return []

    @abstractmethod
    def reads(self) -> list[str]:
        """Name the facts that the answer depends on, sorted."""

    @abstractmethod
    def evaluate(self, posture: Posture, *, now: datetime, least: Least = None) -> Outcome:
        """Judge the posture. `least` is the evidence that a check around this one demands, unless it has its own demand.

        Every kind of check has its own judgement; one without it cannot be made.
        """

    @abstractmethod
    def screen(self, least: Least = None) -> Screen:
        """Make the quick answer: until when the check certainly holds, or None when `evaluate` must say."""

    def fix_for(self, platform: str | None, values: Mapping[str, str]) -> str | None:
        """Give the instructions for `platform`: the policy's own, or else those that Sallyport knows.

        `values` come from the policy and from counts, never from a device's texts: people paste fixes into a shell.
        """
        written = self.fix if isinstance(self.fix, str) else getattr(self.fix, platform or "", None)
        text = written or self.default_fixes.get(platform or "")
        return Template(text).safe_substitute(values) if text else None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Leaf(Check):
    """A check that looks at facts by itself."""

    @abstractmethod
    def look(self, look: Examination) -> None:
        """Read facts and note what is wrong with them."""

    @abstractmethod
    def quick(self) -> Screen:
        """Make the screen that trusts every fact."""

    def evaluate(self, posture: Posture, *, now: datetime, least: Least = None) -> Outcome:
        look = Examination(posture, now=now, least=self.evidence or least)
        self.look(look)
        return look.outcome()

    def screen(self, least: Least = None) -> Screen:
        quick, demanded = self.quick(), self.evidence or least
        if demanded is None:
            return quick
        grades = demanded if isinstance(demanded, Mapping) else dict.fromkeys(self.reads(), demanded)
        needed = [(name, grade) for name, grade in grades.items() if name in self.reads()]

        def screen(facts: Mapping[str, Fact], now: datetime, posture: Posture) -> datetime | None:
            if any(posture.grade_of(name) < grade for name, grade in needed):
                return None
            return quick(facts, now, posture)

        return screen


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Asking(Leaf):
    """A check whose keys each ask one thing of one fact. Every key that is there must hold."""

    asks: ClassVar[Mapping[str, Ask]] = {}

    def __post_init__(self) -> None:
        if all(getattr(self, key) is None for key in self.asks):
            raise ValueError(f"asks for nothing; it needs at least one of {', '.join(self.asks)}")
        Check.__post_init__(self)

    def reads(self) -> list[str]:
        return sorted({fact for _, ask, _ in self._asked() for fact in ask.reads})

    def look(self, look: Examination) -> None:
        for key, ask, wanted in self._asked():
            ask.look(look, key, wanted)

    def quick(self) -> Screen:
        return together([ask.screen(wanted) for _, ask, wanted in self._asked()])

    def _asked(self) -> Iterator[tuple[str, Ask, Any]]:
        for key, ask in self.asks.items():
            wanted = getattr(self, key)
            if wanted is not None:
                yield key, ask, wanted


def platform(posture: Posture) -> str | None:
    """Name the platform; None when it was not reported, or is none that a policy can name."""
    family = posture.facts.get(PLATFORM)
    known = family is not None and family.absent is None and family.value in PLATFORMS
    return str(family.value) if family is not None and known else None
