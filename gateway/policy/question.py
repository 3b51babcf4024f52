"""A question: everything that a decision is made of besides the policy. Kept as JSON, it can be asked again, of any policy.

What `from_json` gives is equal to what `to_json` was given, to the microsecond, so that the same policy decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.wire import Fact
from gateway.policy.engine import decide
from gateway.policy.model import Answers, Decision, EvidenceGrade, Posture, Signal, Subject
from gateway.policy.policy import Policy

Members = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """Whom, with which facts, when, since when checks had been failing before, and what DNS names stand for."""

    subject: Subject
    posture: Posture | None
    at: datetime
    failing_since: Mapping[str, datetime] = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)

    def answered(self, policy: Policy) -> Decision:
        """Give the decision of this policy."""
        return decide(
            policy, self.subject, self.posture, now=self.at, failing_since=self.failing_since, answers=self.answers
        )

    def to_json(self) -> Members:
        """Write it; facts under their names."""
        return {
            "at": instant(self.at),
            "subject": subject_to_json(self.subject),
            "posture": _posture_to_json(self.posture) if self.posture is not None else None,
            "failing_since": {check: instant(since) for check, since in self.failing_since.items()},
            **({"answers": {name: list(found) for name, found in self.answers.items()}} if self.answers else {}),
        }

    @classmethod
    def from_json(cls, members: Members) -> Question:
        """Read it back. Raises ValueError, KeyError or TypeError when it is none."""
        return cls(
            subject_from_json(members["subject"]),
            _posture_from_json(members["posture"]) if members["posture"] is not None else None,
            moment(members["at"]),
            {str(check): moment(since) for check, since in members["failing_since"].items()},
            {str(name): tuple(map(str, found)) for name, found in members.get("answers", {}).items()},
        )


def instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def moment(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at


def subject_to_json(subject: Subject) -> Members:
    """Write whom a decision is about; what is not known is left out."""
    members: Members = {"user": subject.user, "groups": sorted(subject.groups), "device": subject.device}
    if subject.tags:
        members["tags"] = sorted(subject.tags)
    for name in ("address", "country", "acr"):
        if getattr(subject, name) is not None:
            members[name] = getattr(subject, name)
    if subject.authenticated_at is not None:
        members["authenticated_at"] = instant(subject.authenticated_at)
    if subject.copied_since is not None:
        members["copied_since"] = instant(subject.copied_since)
    if subject.signals:
        members["signals"] = sorted(subject.signals)
    return members


def subject_from_json(members: Members) -> Subject:
    authenticated_at, copied_since = members.get("authenticated_at"), members.get("copied_since")
    return Subject(
        user=str(members["user"]),
        groups=frozenset(members["groups"]),
        device=str(members["device"]),
        tags=frozenset(members.get("tags", ())),
        address=members.get("address"),
        country=members.get("country"),
        authenticated_at=moment(authenticated_at) if authenticated_at is not None else None,
        acr=members.get("acr"),
        signals=frozenset(Signal(name) for name in members.get("signals", ())),
        copied_since=moment(copied_since) if copied_since is not None else None,
    )


def _posture_to_json(posture: Posture) -> Members:
    return {
        "facts": {name: fact.to_json() for name, fact in posture.facts.items()},
        "observed_at": instant(posture.observed_at),
        "received_at": instant(posture.received_at),
        "grade": posture.grade.name,
        "grades": {name: grade.name for name, grade in posture.grades.items()},
    }


def _posture_from_json(members: Members) -> Posture:
    return Posture(
        {str(name): Fact.from_json(fact) for name, fact in members["facts"].items()},
        moment(members["observed_at"]),
        moment(members["received_at"]),
        EvidenceGrade[members["grade"]],
        {str(name): EvidenceGrade[grade] for name, grade in members["grades"].items()},
    )
