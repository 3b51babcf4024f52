"""Checks made of checks: `any-of`, `all-of`, `not`. What is not known makes none of them hold.

Each answer is one of three: it holds, it is known not to hold (`Outcome.refuted`), or too little is known. They combine
as in Kleene's logic, so that a fact that goes missing never turns one certainty into the other: `not` around an
antivirus that nobody reported holds as little as the antivirus itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from agent.wire import Fact
from gateway.policy.checks.ask import Screen, either, together, unsure
from gateway.policy.checks.check import STRICT, Check, platform
from gateway.policy.checks.description import described
from gateway.policy.checks.examination import Least
from gateway.policy.checks.expression import Expression
from gateway.policy.checks.inventory import Administrators, Certificates, Domain, Files, Network, Processes
from gateway.policy.checks.others import Custom, Edr, Mdm, Seen, Tpm
from gateway.policy.checks.outcome import Outcome
from gateway.policy.checks.protection import Antivirus, DiskEncryption, Firewall, ScreenLock
from gateway.policy.checks.reporting import AgentIntegrity, AgentVersion, ReportAge
from gateway.policy.checks.system import Boot, Machine, OsSupport, OsVersion, Patches, System
from gateway.policy.model import LONGEST_TEXT, Posture

DEEPEST = 4
"""Levels of checks within a check, itself included: what a reviewer still holds in mind."""
MOST_PARTS = 32
"""Checks within one check, itself included."""

OUTERMOST = ("otherwise", "warn", "grace", "severity", "platforms", "groups", "devices", "tags", "owner", "link")
"""Keys of a check that a part of another cannot have."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class _Composed(Check):
    """A check whose facts are those of its parts. Its fix, unless the policy writes one, is made of theirs."""

    def fix_for(self, platform: str | None, values: Mapping[str, str]) -> str | None:
        written = Check.fix_for(self, platform, values)
        return written or values.get("remedy")

    def reads(self) -> list[str]:
        return sorted({fact for part in self.parts for fact in part.reads()})


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AnyOf(_Composed):
    """At least one of the checks holds."""

    check: Literal["any-of"]
    of: Annotated[list[Part], Field(min_length=1)]

    @property
    def parts(self) -> list[Check]:
        return list(self.of)

    def evaluate(self, posture: Posture, *, now: datetime, least: Least = None) -> Outcome:
        looks = _looks(self.of, posture, now=now, least=self.evidence or least)
        holding = [outcome for _, outcome in looks if not outcome.reasons]
        if holding:  # it holds for as long as the last of them does
            ends = [outcome.changes_at for outcome in holding]
            return Outcome((), None if None in ends else max(at for at in ends if at), _evidence(looks))
        ways = _each(f"{described(part)}, but {'; '.join(outcome.reasons)}" for part, outcome in looks)
        return Outcome(
            (f"one of these would be enough: {_either(ways)}",),
            _soonest(looks),
            _evidence(looks),
            _remedy(_either(_fixes(looks, posture))),
            refuted=all(outcome.refuted for _, outcome in looks),
        )

    def screen(self, least: Least = None) -> Screen:
        return either([part.screen(self.evidence or least) for part in self.of])


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AllOf(_Composed):
    """Every one of the checks holds."""

    check: Literal["all-of"]
    of: Annotated[list[Part], Field(min_length=1)]

    @property
    def parts(self) -> list[Check]:
        return list(self.of)

    def evaluate(self, posture: Posture, *, now: datetime, least: Least = None) -> Outcome:
        looks = _looks(self.of, posture, now=now, least=self.evidence or least)
        failing = [(part, outcome) for part, outcome in looks if outcome.reasons]
        return Outcome(
            tuple(_each(reason for _, outcome in failing for reason in outcome.reasons)),
            _soonest(looks),
            _evidence(looks),
            _remedy("; and ".join(_fixes(failing, posture))),
            refuted=any(outcome.refuted for _, outcome in looks),
        )

    def screen(self, least: Least = None) -> Screen:
        return together([part.screen(self.evidence or least) for part in self.of])


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Not(_Composed):
    """The check is known not to hold."""

    check: Literal["not"]
    of: Part

    @property
    def parts(self) -> list[Check]:
        return [self.of]

    def evaluate(self, posture: Posture, *, now: datetime, least: Least = None) -> Outcome:
        ((part, inner),) = _looks([self.of], posture, now=now, least=self.evidence or least)
        if inner.refuted:
            return Outcome((), inner.changes_at, inner.evidence)
        if not inner.reasons:
            reason = f"this must not be so, and is: {described(part)}"
            return Outcome((reason,), inner.changes_at, inner.evidence, refuted=True)
        told = "; ".join(inner.reasons)
        return Outcome(
            (f"this must not be so, and cannot be told: {described(part)}: {told}",), inner.changes_at, inner.evidence
        )

    def screen(self, least: Least = None) -> Screen:  # noqa: ARG002 - the others' signature
        """What a screen cannot affirm may be false or unknown, and only the first would do."""
        return unsure


Kinds = (
    OsVersion | OsSupport | System | Patches | Machine | Boot
    | Antivirus | Firewall | DiskEncryption | ScreenLock
    | Administrators | Domain | Processes | Files | Certificates | Network
    | ReportAge | AgentVersion | AgentIntegrity
    | Mdm | Edr | Seen | Tpm | Custom | Expression
    | AnyOf | AllOf | Not
)  # fmt: skip


def _within(check: Check) -> Check:
    carried = [name for name in OUTERMOST if getattr(check, name)]
    if carried:
        raise ValueError(f"has {', '.join(carried)}; that is allowed beside the outermost check only")
    return check


def _alone(check: Check) -> Check:
    if check.warn == (check.otherwise is not None):
        raise ValueError("needs `otherwise: <tier>`, or `warn: true` for a check that only informs, and not both")
    if check.warn and check.grace is not None:
        raise ValueError("has a grace that means nothing: a check that only warns never takes effect")
    if check.severity is not None and (check.warn or check.grace is not None):
        raise ValueError("has severity explicit, which takes effect at once; allowed is neither grace nor warn with it")
    if len(levels := list(_levels(check))) > MOST_PARTS:
        raise ValueError(f"is made of {len(levels)} checks; allowed are {MOST_PARTS} in one")
    if max(levels) > DEEPEST:
        raise ValueError(f"has {max(levels)} levels of checks; allowed are {DEEPEST}")
    return check


Part = Annotated[Kinds, Field(discriminator="check"), AfterValidator(_within)]
AnyCheck = Annotated[Kinds, Field(discriminator="check"), AfterValidator(_alone)]


def _levels(check: Check, level: int = 1) -> Iterator[int]:
    yield level
    for part in check.parts:
        yield from _levels(part, level + 1)


Looks = list[tuple[Check, Outcome]]


def _looks(checks: Iterable[Check], posture: Posture, *, now: datetime, least: Least) -> Looks:
    return [(part, part.evaluate(posture, now=now, least=least)) for part in checks]


def _soonest(looks: Looks) -> datetime | None:
    return min((outcome.changes_at for _, outcome in looks if outcome.changes_at is not None), default=None)


def _evidence(looks: Looks) -> Mapping[str, Fact]:
    return {name: fact for _, outcome in looks for name, fact in outcome.evidence.items()}


def _fixes(looks: Looks, posture: Posture) -> list[str]:
    fixes = (part.fix_for(platform(posture), outcome.values) for part, outcome in looks)
    return _each(fix for fix in fixes if fix)


def _remedy(text: str) -> dict[str, str]:
    """A remedy that would have to be cut is none: half a command is worse than no command."""
    return {"remedy": text} if text and len(text) <= LONGEST_TEXT else {}


def _each(texts: Iterable[str]) -> list[str]:
    """The order of a list in a policy means nothing, so it must not show."""
    return sorted(set(texts))


def _either(texts: list[str]) -> str:
    return "; or ".join(texts)
