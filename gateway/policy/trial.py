"""A trial: one fixture held against the policy. What was expected, what the engine decides, and every difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.wire import Fact
from gateway.policy.engine import decide
from gateway.policy.fixture import Unusual
from gateway.policy.model import Answers, Decision, Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.reach import Destination, overlap
from gateway.policy.suite import Case

SOURCE = "fixture"


@dataclass(frozen=True, slots=True)
class Trial:
    """A case, the decision about it, and what is not as expected."""

    case: Case
    decision: Decision
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differences


def hold(policy: Policy, case: Case) -> Trial:
    """Decide about the case as the gateway would about a device."""
    fixture = case.fixture
    decision = decide(
        policy, subject(case), posture(case), now=fixture.at, failing_since=failing_since(case), answers=answers(case)
    )
    return Trial(case, decision, tuple(_differences(policy, case, decision)))


def subject(case: Case) -> Subject:
    """Name whom the case is about."""
    fixture = case.fixture
    user, login = fixture.user, fixture.user.logged_in
    return Subject(
        user=user.name,
        groups=frozenset(user.groups),
        device=fixture.device or SOURCE,
        tags=frozenset(user.tags),
        address=user.address,
        country=user.country,
        authenticated_at=fixture.at - login if login is not None else None,
        acr=user.acr,
    )


def answers(case: Case) -> Answers:
    """Say what DNS names stand for."""
    return {name: tuple(addresses) for name, addresses in case.fixture.names.items()}


def failing_since(case: Case) -> dict[str, datetime]:
    """Say since when checks of the case have been failing."""
    return {check: case.fixture.at - age for check, age in case.fixture.failing_for.items()}


def posture(case: Case) -> Posture | None:
    """Make the posture that the case describes; None when the device has not reported."""
    if case.facts is None:
        return None
    at = case.fixture.at
    received = at - case.fixture.report_age
    facts = {name: _fact(said, at) for name, said in case.facts.items() if not _missing(said)}
    return Posture(facts, observed_at=received, received_at=received, grades=case.fixture.evidence)


def _missing(said: Any) -> bool:
    return isinstance(said, Unusual) and said.missing is not None


def _fact(said: Any, at: datetime) -> Fact:
    observed = at.timestamp()
    if not isinstance(said, Unusual):
        return Fact(said, SOURCE, observed)
    if said.ago is not None:
        return Fact((at - said.ago).timestamp(), SOURCE, observed)
    if said.ahead is not None:
        return Fact((at + said.ahead).timestamp(), SOURCE, observed)
    if said.exactly is not None:
        return Fact(said.exactly, SOURCE, observed)
    return Fact(None, SOURCE, observed, absent=said.unreadable)


def _differences(policy: Policy, case: Case, decision: Decision) -> Iterator[str]:
    expect = case.fixture.expect
    if decision.tier != expect.tier:
        yield f"tier: expected {expect.tier}, computed {decision.tier}"
    found = {finding.check for finding in decision.findings}
    if expect.findings is not None and found != set(expect.findings):
        yield f"findings: expected {_listed(expect.findings)}, computed {_listed(found)}"
    for target in expect.reachable:
        if not _reaches(decision, target):
            yield f"reachable: {target} is not reached"
    for target in expect.unreachable:
        if " " in target and _reaches(decision, target):
            yield f"unreachable: {target} is reached"
        elif " " not in target:
            yield from _ways_into(policy, decision, target)


def _reaches(decision: Decision, target: str) -> bool:
    if " " in target:
        return Destination.parse(target).reached_by(decision.permits)
    return target in decision.resources


def _ways_into(policy: Policy, decision: Decision, resource: str) -> Iterator[str]:
    """A resource is out of reach when no packet gets into any part of it, under whatever name."""
    wanted = policy.resources[resource].permits()
    for name in decision.resources:
        ways = [p for p in policy.resources[name].permits() if any(overlap(p, other) for other in wanted)]
        if name == resource:
            yield f"unreachable: {resource} is reached"
        elif ways:
            yield f"unreachable: {resource} is reached in part, as {name}: {', '.join(ways)}"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


def shown(decision: Decision) -> Mapping[str, Any]:
    """Write the decision as JSON: what a reader needs to see why it came out so."""
    return {
        "tier": decision.tier,
        "resources": list(decision.resources),
        "findings": [
            {
                "check": finding.check,
                "reason": finding.reason,
                "tier": finding.tier,
                "effective": finding.effective,
                "grace_until": finding.grace_until.isoformat() if finding.grace_until else None,
                "fix": finding.fix,
                "explicit": finding.explicit,
                "owner": finding.owner,
                "link": finding.link,
            }
            for finding in decision.findings
        ],
    }
