"""What goes into a judgement and what comes out: posture and subject in, decision with its findings out.

All times are aware UTC datetimes. Nothing here knows how a policy is written or how a check works.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.wire import Fact

EVERYONE = "everyone"
"""The group that every subject belongs to without being told so."""

REPORT = "report"
"""The name of the finding about the report itself, which no policy has to ask for."""

LOGIN = "login"
"""The name of the finding about the login behind the session; `login:<resource>` is about what one resource asks of it."""

PRIVATE = "private"
"""The country of an address that no country has: a private, shared or local one."""

Answers = Mapping[str, tuple[str, ...]]
"""By DNS name, the addresses that the gateway's resolver found last, sorted. A name that is not there has none."""

COPIED = "device-copied"
"""The name of the finding about a device whose key another machine uses too, which no policy has to ask for."""

LONGEST_TEXT = 2000
"""Characters of a reason or a fix: an agent refuses an answer with longer ones."""


class Signal(enum.StrEnum):
    """What the provider's security events (CAEP) hold against a user or a device, until they say otherwise."""

    CREDENTIAL_CHANGE = "credential-change"
    NOT_COMPLIANT = "not-compliant"
    LOWER_ASSURANCE = "lower-assurance"
    MEDIUM_RISK = "medium-risk"
    HIGH_RISK = "high-risk"


class EvidenceGrade(enum.IntEnum):
    """How far a fact can be trusted; a higher grade is better evidence."""

    CLAIMED = 1
    DEVICE_SIGNED = 2
    VENDOR_CONFIRMED = 3
    HARDWARE_ATTESTED = 4

    @property
    def written(self) -> str:
        """As policies write it: `device-signed`."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Posture:
    """The facts of one accepted report, and what others say about the device.

    `observed_at` is the device's own clock and is only shown; every age is counted from `received_at`, the gateway's.
    `grades` names the facts whose grade is another than `grade`.
    """

    facts: Mapping[str, Fact]
    observed_at: datetime
    received_at: datetime
    grade: EvidenceGrade = EvidenceGrade.DEVICE_SIGNED
    grades: Mapping[str, EvidenceGrade] = field(default_factory=dict)

    def grade_of(self, name: str) -> EvidenceGrade:
        """How far the fact of this name can be trusted."""
        return self.grades.get(name, self.grade)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a decision is about, as the gateway knows it: nothing here is the device's own word.

    `address` is where the device connects from, `country` the two letters that the gateway's map of networks gives it, or
    PRIVATE for an address that belongs to none. `authenticated_at` and `acr` are of the login behind the session. None is
    not known, and what is not known opens nothing. `copied_since` is when another machine was first heard with the key of
    the device; None, that it never was.
    """

    user: str
    groups: frozenset[str]
    device: str
    tags: frozenset[str] = frozenset()
    address: str | None = None
    country: str | None = None
    authenticated_at: datetime | None = None
    acr: str | None = None
    signals: frozenset[Signal] = frozenset()
    copied_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a check failed, in one sentence, and what to do about it.

    `tier` is where the finding leads. It does so only when `effective`: a finding in grace (until `grace_until`) or of
    a check that only warns is shown and changes nothing. `since` is the first failure seen. `explicit` findings know no
    grace. `owner` and `link` say who answers for the check, and where its reason is written down.
    """

    check: str
    reason: str
    tier: str
    effective: bool
    since: datetime
    grace_until: datetime | None
    fix: str | None
    evidence: Mapping[str, Fact] = field(default_factory=dict)
    explicit: bool = False
    owner: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class StepUp:
    """A resource that is granted, and opens only for a login that is young or strong enough."""

    resource: str
    max_age: timedelta | None = None
    acr_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, with all of its reasons.

    `permits` are UAPI permit strings, sorted and without duplicates. `routes` are the CIDRs that the subject can reach
    at any tier of a session, so that a device's routes stay while its tier changes. `rate` is in bits per second.
    `valid_until` is the next instant at which time alone could change the decision. `failing_since` is to be kept and
    handed to the next decision about the same device: grace counts from it. `names` are the DNS names whose answers the
    decision depends on. `step_up` lists what another login would open.
    """

    tier: str
    findings: tuple[Finding, ...]
    resources: tuple[str, ...]
    permits: tuple[str, ...]
    routes: tuple[str, ...]
    policy_version: str
    evaluated_at: datetime
    valid_until: datetime | None
    failing_since: Mapping[str, datetime]
    rate: int | None = None
    names: tuple[str, ...] = ()
    step_up: tuple[StepUp, ...] = ()
