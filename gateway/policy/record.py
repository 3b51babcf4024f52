"""What is kept of a decision so that it can be made again and compared: its digest, its trace id, and the facts that changed.

The digest covers everything that follows from the decision; the facts themselves are in the record beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.wire import Fact
from gateway.policy.model import Decision, Finding
from gateway.policy.question import Question

VOLATILE = frozenset({"seen.clock_skew"})
"""Facts that differ in every report: no reason for a row, and in every row that there is."""

TRACE = 16
"""Hex digits of a trace id: 64 bits tell the decisions of many years apart, and can be read out on the telephone."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision of the past: what was asked, and what came out."""

    trace: str
    session: str
    question: Question
    tier: str
    policy_version: str
    digest: str


def digest(decision: Decision) -> str:
    """Hash the answer: two decisions with the same digest have the same consequences, for as long."""
    said = [
        decision.tier,
        [_finding(finding) for finding in decision.findings],
        decision.resources,
        decision.permits,
        decision.routes,
        decision.rate,
        decision.policy_version,
        _seconds(decision.valid_until),
        sorted((check, since.timestamp()) for check, since in decision.failing_since.items()),
        [(step.resource, str(step.max_age), step.acr_values) for step in decision.step_up],
    ]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def trace(session: str, at: datetime, digest: str) -> str:
    """Name the decision about a session: the same wherever it is told."""
    return hashlib.sha256(f"{session} {at.timestamp()} {digest}".encode()).hexdigest()[:TRACE]


def news(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """List the facts (as JSON) that are not what they were; None for one that is gone. When they were read does not count."""
    changed = {name: said for name, said in after.items() if name not in before or _said(said) != _said(before[name])}
    return {**changed, **{name: None for name in before if name not in after}}


def worth_a_row(changed: Mapping[str, Any]) -> bool:
    return not changed.keys() <= VOLATILE


def volatile(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in VOLATILE if name in facts}


def grown(facts: dict[str, Fact], changed: Mapping[str, Any]) -> dict[str, Fact]:
    """Give the facts after a change. Raises ValueError when it holds what is no fact."""
    after = dict(facts)
    for name, said in changed.items():
        if said is None:
            after.pop(name, None)
        else:
            after[name] = Fact.from_json(said)
    return after


def _said(fact: Mapping[str, Any]) -> tuple[Any, ...]:
    value = fact.get("value")
    return type(value), value, fact.get("absent"), fact.get("source")


def _finding(finding: Finding) -> list[Any]:
    return [
        finding.check, finding.reason, finding.tier, finding.effective, finding.since.timestamp(), _seconds(finding.grace_until),
        finding.fix, finding.explicit, finding.owner, finding.link,
    ]  # fmt: skip


def _seconds(at: datetime | None) -> float | None:
    return at.timestamp() if at is not None else None
