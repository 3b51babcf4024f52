"""What every check has in common: whom it concerns, where it leads, its grace, its fix, and what it answers.

A check is written in the policy and evaluated here: one frozen dataclass per kind, validated by pydantic, so that the
document and the judgement cannot drift apart. Nothing here knows tiers, grace or subjects; that is `engine.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from string import Template
from typing import Annotated, ClassVar, Literal

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
from gateway.policy import durations, versions
from gateway.policy.model import Posture
from gateway.policy.names import PLATFORMS, Device, Group, Link, Owner, Platform, Text

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
"""No unknown keys. The scalar types below refuse every conversion: `enabled: 1` is an error and not a yes."""

MOST = 1_000_000_000
"""No honest count is larger."""

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check saw. No reasons: it passed. `changes_at`: when time alone could make the answer another one.

    `refuted` tells a check that is known not to hold from one of which too little is known. Both fail; only the first
    makes a `not` around it hold.
    """

    reasons: tuple[str, ...]
    changes_at: datetime | None
    evidence: Mapping[str, Fact]
    values: Mapping[str, str] = field(default_factory=dict)
    refuted: bool = False


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
    needs_one_of: ClassVar[tuple[str, ...]] = ()
    facts: ClassVar[tuple[str, ...]] = ()

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
    owner: Owner | None = None
    """Who answers for the check, and where its reason is written down: shown with the finding."""
    link: Link | None = None

    def __post_init__(self) -> None:
        if self.needs_one_of and all(getattr(self, name) is None for name in self.needs_one_of):
            raise ValueError(f"asks for nothing; it needs at least one of {', '.join(self.needs_one_of)}")

    @property
    def parts(self) -> list[Check]:
        """The checks that this one is made of: none, for those that look at facts."""
        return []

    @abstractmethod
    def evaluate(self, posture: Posture, *, now: datetime) -> Outcome:
        """Judge the posture. Every kind of check has its own; one without it cannot be made."""

    def fix_for(self, platform: str | None, values: Mapping[str, str]) -> str | None:
        """Give the instructions for `platform`: the policy's own, or else those that Sallyport knows.

        `values` come from the policy and from counts, never from a device's texts: people paste fixes into a shell.
        """
        written = self.fix if isinstance(self.fix, str) else getattr(self.fix, platform or "", None)
        text = written or self.default_fixes.get(platform or "")
        return Template(text).safe_substitute(values) if text else None


def platform(posture: Posture) -> str | None:
    """Name the platform; None when it was not reported, or is none that a policy can name."""
    family = posture.facts.get(PLATFORM)
    known = family is not None and family.absent is None and family.value in PLATFORMS
    return str(family.value) if family is not None and known else None
