"""What `sallyport policy test` found, for a person and for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gateway.policy import trial
from gateway.policy.coverage import Coverage
from gateway.policy.document import Deny, Grant
from gateway.policy.model import Decision, Finding
from gateway.policy.policy import Policy
from gateway.policy.trial import Trial


def as_json(done: Trial) -> dict[str, Any]:
    """Write one fixture for a program."""
    return {
        "name": done.case.fixture.name,
        **{name: getattr(done.case, name) for name in ("file", "line", "column")},
        "ok": done.passed,
        "differences": list(done.differences),
        "computed": trial.shown(done.decision),
    }


def as_text(done: Trial) -> Iterator[str]:
    """Write one fixture for a person."""
    case = done.case
    if done.passed:
        yield f"ok    {case.fixture.name}"
        return
    yield f"WRONG {case.fixture.name}"
    yield f"      {case.file}:{case.line}:{case.column}"
    yield from (f"      {difference}" for difference in done.differences)
    yield from (f"      computed: {line}" for line in _explained(done.decision))


def coverage(policy: Policy, tried: Coverage) -> Iterator[str]:
    """Say what no fixture tries."""
    rules = tried.rules - len(tried.never_granted) - len(tried.never_denied)
    checks = tried.checks - len({*tried.never_failed, *tried.never_passed})
    yield f"coverage: {checks} of {tried.checks} checks fail and pass, {rules} of {tried.rules} access rules are used"
    yield from (f"  no fixture fails {name}" for name in tried.never_failed)
    yield from (f"  no fixture passes {name}" for name in tried.never_passed)
    rules_left: list[Grant | Deny] = [policy.access[index] for index in tried.never_granted]
    rules_left += [policy.deny[index] for index in tried.never_denied]
    for rule in rules_left:
        what = "is denied" if isinstance(rule, Deny) else "reaches"
        names = rule.resources if rule.resources is not None else ["everything"]
        yield f"  no fixture in which {', '.join(rule.groups)} {what} {', '.join(names)}"


def _explained(decision: Decision) -> Iterable[str]:
    yield f"tier {decision.tier}, which reaches {', '.join(decision.resources) or 'nothing'}"
    yield from (f"{finding.check} {_effect(finding)}: {finding.reason}" for finding in decision.findings)


def _effect(finding: Finding) -> str:
    if finding.effective:
        return f"leads to {finding.tier}"
    return f"is in grace until {finding.grace_until:%Y-%m-%d %H:%M} UTC" if finding.grace_until else "only warns"
