"""What fixtures try of a policy: every check failed and passed by a device, every access rule used by somebody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.policy import standing, trial
from gateway.policy.engine import judgements
from gateway.policy.policy import Policy, concerns
from gateway.policy.trial import Trial


@dataclass(frozen=True, slots=True)
class Coverage:
    """What no fixture tries: checks by name, access rules and denies by their place in the policy's lists."""

    checks: int
    rules: int
    never_failed: tuple[str, ...]
    never_passed: tuple[str, ...]
    never_granted: tuple[int, ...]
    never_denied: tuple[int, ...]

    @property
    def whole(self) -> bool:
        return not (self.never_failed or self.never_passed or self.never_granted or self.never_denied)


def covered(policy: Policy, trials: Iterable[Trial]) -> Coverage:
    """Look at what the trials came across."""
    failed: set[str] = set()
    passed: set[str] = set()
    granted: set[int] = set()
    denied: set[int] = set()
    for done in trials:
        fixture = done.case.fixture
        who, posture = trial.subject(done.case), trial.posture(done.case)
        failing = {finding.check for finding in done.decision.findings}
        failed |= failing
        if posture is not None:
            looked = judgements(policy, who, posture, now=fixture.at, failing_since=trial.failing_since(done.case))
            passed |= {j.check for j in looked if j.concerned and j.finding is None}
        rank = policy.tiers.index(done.decision.tier)
        for index, grant in enumerate(policy.access):
            reaches = policy.tiers.index(grant.tier) >= rank and concerns(grant.groups, who)
            if (
                reaches
                and done.decision.tier != policy.denied
                and standing.holds(policy, grant, who, now=fixture.at)[0]
            ):
                granted.add(index)
        for index, deny in enumerate(policy.deny):
            if concerns(deny.groups, who) and standing.holds(policy, deny, who, now=fixture.at)[0]:
                denied.add(index)
    return Coverage(
        checks=len(policy.checks),
        rules=len(policy.access) + len(policy.deny),
        never_failed=tuple(name for name in policy.checks if name not in failed),
        never_passed=tuple(name for name in policy.checks if name not in passed),
        never_granted=tuple(index for index in range(len(policy.access)) if index not in granted),
        never_denied=tuple(index for index in range(len(policy.deny)) if index not in denied),
    )
