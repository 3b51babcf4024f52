"""What a provider signals about a user or a device while a session lives, and where that leads: facts of the gateway.

A policy may judge these facts like any other. Whatever it says, a bad signal leads to the worst tier of a session: the
provider has told us that something is wrong, and no policy was written to overlook that. No signal is no news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agent.wire import Fact
from gateway.policy.model import EvidenceGrade, Finding, Posture

COMPLIANCE, RISK, ASSURANCE = "provider.compliance", "provider.risk", "provider.assurance"


@dataclass(frozen=True, slots=True)
class Bad:
    """A value that leads to the worst tier, why, and what to do."""

    value: str
    reason: str
    fix: str


BAD: Mapping[str, Bad] = {
    COMPLIANCE: Bad(
        "not-compliant",
        "the device management says that this device does not comply",
        "make the device compliant where it is managed; access comes back when that is reported",
    ),
    RISK: Bad(
        "HIGH",
        "the identity provider says that the risk is high",
        "ask those who watch over the identity provider; access comes back when they say so",
    ),
    ASSURANCE: Bad(
        "decreased",
        "the identity provider trusts this login less than before",
        "log in again: sallyport-agent login",
    ),
}


def with_signals(posture: Posture | None, signals: Mapping[str, Mapping[str, object]]) -> Posture | None:
    """Add the signals of a session (`{fact: {"value": …, "at": Unix time}}`) to the facts that the device reported."""
    if posture is None or not signals:
        return posture
    facts = {
        name: Fact(str(signal["value"]), "security event", float(str(signal["at"]))) for name, signal in signals.items()
    }
    grades = dict.fromkeys(facts, EvidenceGrade.VENDOR_CONFIRMED)
    return replace(posture, facts={**posture.facts, **facts}, grades={**posture.grades, **grades})


def findings(posture: Posture, worst_tier: str) -> list[Finding]:
    """List the bad signals. They know no grace."""
    return [
        Finding(
            check=name,
            reason=bad.reason,
            tier=worst_tier,
            effective=True,
            since=datetime.fromtimestamp(fact.observed_at, UTC),
            grace_until=None,
            fix=bad.fix,
            evidence={name: fact},
            explicit=True,
        )
        for name, bad in BAD.items()
        if (fact := posture.facts.get(name)) is not None and fact.value == bad.value
    ]
