"""The judgement: policy, subject and posture to a decision. Pure, total, and the same on every replica.

1. Every check looks at the posture. A missing fact fails, and so does a check that breaks.
2. A failing check has been failing since the first failure seen (`failing_since`), and is in grace until then + `grace`.
   A check that recovers keeps that instant until its grace would have ended, so that flapping never restarts a grace.
3. The tier is the worst `otherwise` among the failing checks that are out of grace.
4. A report that is older than MAXIMUM_REPORT_AGE adds a finding that leads to `session.without_report`. No report at all
   is the worst tier of a session: nobody has a credential before the first one, and a policy that denied here would
   never let anybody begin.
5. What is reached is the union of the grants of the subject's groups at that tier. Nothing grants by default.

Ages end like leases: what may be 3d old is too old at exactly 3d, so that `valid_until` is itself the first instant of
the new answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from gateway.policy.checks import PLATFORM, Check, Outcome
from gateway.policy.checks.reporting import ReportAge
from gateway.policy.document import LONGEST_LEASE
from gateway.policy.model import REPORT, Decision, Finding, Posture, Subject
from gateway.policy.policy import Policy

MAXIMUM_REPORT_AGE = LONGEST_LEASE
"""No session outlives its lease without a report, so an older one is not of a live session."""


def decide(
    policy: Policy,
    subject: Subject,
    posture: Posture | None,
    *,
    now: datetime,
    failing_since: Mapping[str, datetime] | None = None,
) -> Decision:
    """Judge `posture` at `now`. `failing_since` is that of the previous decision about the same device."""
    before = failing_since or {}
    judged = list(_judgements(policy, posture, before, now=now))
    findings = tuple(j.finding for j in judged if j.finding is not None)
    tier = policy.worst([finding.tier for finding in findings if finding.effective])
    resources = policy.reachable(subject, tier)
    return Decision(
        tier=tier,
        findings=findings,
        resources=resources,
        permits=policy.permits(resources),
        routes=policy.destinations(policy.reachable(subject, policy.tiers[0])),
        policy_version=policy.version,
        evaluated_at=now,
        valid_until=min((j.changes_at for j in judged if j.changes_at is not None), default=None),
        failing_since={j.check: j.since for j in judged if j.since is not None},
        rate=policy.rate(subject),
    )


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What one check comes to: a finding or none, since when it fails, and when time could change that."""

    check: str
    finding: Finding | None
    since: datetime | None
    changes_at: datetime | None


def _judgements(
    policy: Policy, posture: Posture | None, before: Mapping[str, datetime], *, now: datetime
) -> Iterator[_Judgement]:
    if posture is None:
        yield _unreported(policy, min(before.get(REPORT, now), now))
        # Nothing was seen to fail, so no grace begins and none is forgotten.
        known = ((name, since) for name, since in before.items() if name in policy.checks)
        yield from (_Judgement(name, None, min(since, now), None) for name, since in known)
        return
    yield _report(policy, posture, now=now)
    for name, check in policy.checks.items():
        yield _judgement(policy, name, check, posture, before.get(name), now=now)


def _unreported(policy: Policy, since: datetime) -> _Judgement:
    finding = Finding(REPORT, "the device has not reported yet", policy.worst_tier, True, since, None, None)
    return _Judgement(REPORT, finding, since, None)


def _report(policy: Policy, posture: Posture, *, now: datetime) -> _Judgement:
    outcome = ReportAge(check="report-age", max_age=MAXIMUM_REPORT_AGE, warn=True).evaluate(posture, now=now)
    if not outcome.reasons:
        return _Judgement(REPORT, None, None, outcome.changes_at)
    tier = policy.session.without_report or policy.worst_tier
    since = posture.received_at + MAXIMUM_REPORT_AGE
    fix = ReportAge.default_fixes.get(_platform(posture) or "")
    return _Judgement(
        REPORT, Finding(REPORT, outcome.reasons[0], tier, True, since, None, fix), None, outcome.changes_at
    )


def _judgement(
    policy: Policy, name: str, check: Check, posture: Posture, before: datetime | None, *, now: datetime
) -> _Judgement:
    outcome = _outcome(check, posture, now=now)
    since = min(before, now) if before is not None else now if outcome.reasons else None
    grace_until = since + check.grace if since is not None and check.grace is not None else None
    in_grace = grace_until is not None and now < grace_until
    changes = [at for at in (outcome.changes_at, grace_until if in_grace else None) if at is not None]
    if not outcome.reasons:
        return _Judgement(name, None, since if in_grace else None, min(changes, default=None))
    assert since is not None
    finding = Finding(
        check=name,
        reason="; ".join(outcome.reasons),
        tier=check.otherwise or policy.tiers[0],
        effective=not (check.warn or in_grace),
        since=since,
        grace_until=grace_until,
        fix=check.fix_for(_platform(posture), outcome.values),
        evidence=outcome.evidence,
    )
    return _Judgement(name, finding, since, min(changes, default=None))


def _outcome(check: Check, posture: Posture, *, now: datetime) -> Outcome:
    try:
        return check.evaluate(posture, now=now)
    except Exception as error:  # a broken check must fail, never pass and never take the gateway down
        return Outcome((f"the check could not be evaluated ({type(error).__name__})",), None, {})


def _platform(posture: Posture) -> str | None:
    family = posture.facts.get(PLATFORM)
    return family.value if family is not None and isinstance(family.value, str) else None
