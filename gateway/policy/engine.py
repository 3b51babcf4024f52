"""The judgement: policy, subject and posture to a decision. Pure, total, and the same on every replica.

1. Every check that concerns the device looks at the posture. A missing fact fails, and so does a check that breaks. A
   check concerns everybody unless it names platforms, groups, devices or tags, and then whoever is among all that it names; a
   device that does not say which of the known platforms it is, is among them all.
2. A failing check has been failing since the first failure seen (`failing_since`), and is in grace until then + `grace`.
   A check that recovers, or ceases to concern the device, keeps that instant until its grace would have ended, so that
   flapping never restarts a grace.
3. The tier is the worst `otherwise` among the failing checks that are out of grace.
4. A report that is older than MAXIMUM_REPORT_AGE adds a finding that leads to `session.without_report`. No report at all
   is the worst tier of a session: nobody has a credential before the first one, and a policy that denied here would
   never let anybody begin.
5. What is reached is the union of the grants of the subject's groups at that tier, without what is denied. Nothing grants
   by default (`standing.py`).
6. A login that is too old, and what the provider's security events hold against the subject, are findings like those of
   checks; a resource that asks for a younger or stronger login is closed until there is one (`login.py`).
7. A device whose key another machine uses too is worth the worst tier of a session, whatever it reports: nobody knows
   which of the two is the right one.

Ages end like leases: what may be 3d old is too old at exactly 3d, so that `valid_until` is itself the first instant of
the new answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from gateway.policy import login, standing
from gateway.policy.checks import Check, Outcome, platform
from gateway.policy.checks.ask import ALWAYS
from gateway.policy.checks.reporting import ReportAge
from gateway.policy.document import LONGEST_LEASE, NO_ANSWERS
from gateway.policy.judgement import Judgement
from gateway.policy.model import COPIED, LONGEST_TEXT, REPORT, Answers, Decision, Finding, Posture, Subject
from gateway.policy.policy import Policy, concerns
from gateway.policy.program import Class, Program

MAXIMUM_REPORT_AGE = LONGEST_LEASE
"""No session outlives its lease without a report, so an older one is not of a live session."""


def decide(
    policy: Policy,
    subject: Subject,
    posture: Posture | None,
    *,
    now: datetime,
    failing_since: Mapping[str, datetime] | None = None,
    answers: Answers = NO_ANSWERS,
) -> Decision:
    """Judge `posture` at `now`. `failing_since` is that of the previous decision about the same device.

    The same decision as `interpreted` makes, by way of the compiled policy.
    """
    program = compiled(policy)
    subject = policy.tagged(subject)
    about = program.of(subject)
    before = failing_since or {}
    soonest = ALWAYS
    if posture is None:
        judged = judgements(policy, subject, None, now=now, failing_since=before)
    else:
        judged, soonest = _weighed(policy, about, subject, posture, before, now=now)
    ranks = [program.ranks[j.finding.tier] for j in judged if j.finding is not None and j.finding.effective]
    rank = max(ranks, default=0)
    reached = program.reach(about, subject, rank, now, answers)
    judged += reached.asked
    for at in (*[j.changes_at for j in judged], reached.changes_at):
        soonest = at if at is not None and at < soonest else soonest
    return Decision(
        tier=policy.tiers[rank],
        findings=tuple([j.finding for j in judged if j.finding is not None]),
        resources=reached.resources,
        permits=reached.permits,
        routes=program.routes(about, answers),
        policy_version=policy.version,
        evaluated_at=now,
        valid_until=None if soonest is ALWAYS else soonest,
        failing_since={j.check: j.since for j in judged if j.since is not None},
        rate=about.rate,
        names=about.names,
        step_up=reached.step_up,
    )


def compiled(policy: Policy) -> Program:
    """Give the program of the policy, which is made once."""
    program: Program | None = policy.memo.get("program")
    if program is None:
        program = policy.memo["program"] = Program(policy)
    return program


def interpreted(
    policy: Policy,
    subject: Subject,
    posture: Posture | None,
    *,
    now: datetime,
    failing_since: Mapping[str, datetime] | None = None,
    answers: Answers = NO_ANSWERS,
) -> Decision:
    """Judge check after check, without anything that was made ready before: what `decide` must come to."""
    judged = judgements(policy, subject, posture, now=now, failing_since=failing_since)
    return decided(policy, subject, judged, now=now, answers=answers)


def outlook(
    policy: Policy,
    subject: Subject,
    posture: Posture,
    *,
    now: datetime,
    failing_since: Mapping[str, datetime] | None = None,
    judged: Collection[str] = (),
    endless: Collection[str] = (),
) -> tuple[list[Judgement], datetime]:
    """Judge what no screen affirms, what has failed before and what is to be `judged`, and say until when the rest holds.

    When the `endless` checks would end does not count, nor does the age of the report: it is about a device that reports on.
    """
    subject = policy.tagged(subject)
    about = compiled(policy).of(subject)
    return _sieved(policy, about, subject, posture, failing_since or {}, now=now, wanted=judged, endless=endless)


def _weighed(
    policy: Policy, about: Class, subject: Subject, posture: Posture, before: Mapping[str, datetime], *, now: datetime
) -> tuple[list[Judgement], datetime]:
    """Judge what needs judging, the report among it, and say until when the rest holds by itself."""
    judged, soonest = _sieved(policy, about, subject, posture, before, now=now)
    end = posture.received_at + MAXIMUM_REPORT_AGE
    if now < end and posture.received_at <= now:
        return judged, min(end, soonest)
    return [_report(policy, posture, now=now), *judged], soonest


def _sieved(
    policy: Policy,
    about: Class,
    subject: Subject,
    posture: Posture,
    before: Mapping[str, datetime],
    *,
    now: datetime,
    wanted: Collection[str] = (),
    endless: Collection[str] = (),
) -> tuple[list[Judgement], datetime]:
    """Judge what no screen affirms, what is wanted or what has failed before, and say until when the rest holds by itself."""
    facts = posture.facts
    soonest = ALWAYS
    doubtful: list[str] = []
    for name, screen, limited in about.sieves:
        if limited is not None and not _concerns(limited, subject, posture):
            continue
        try:
            end = screen(facts, now, posture)
        except Exception:  # the judgement meets the same error, and makes a failure of it
            end = None
        if end is not ALWAYS:
            if end is None:
                doubtful.append(name)
            elif end < soonest and name not in endless:
                soonest = end
    if before or wanted:
        doubtful = sorted({*doubtful, *wanted, *(name for name in before if name in policy.checks)})
    judged = [_judgement(policy, name, subject, posture, before.get(name), now=now) for name in doubtful]
    judged[:0] = [*_copied(policy, subject), *login.judgements(policy, subject, before, now=now)]
    return judged, soonest


def judgements(
    policy: Policy,
    subject: Subject,
    posture: Posture | None,
    *,
    now: datetime,
    failing_since: Mapping[str, datetime] | None = None,
) -> list[Judgement]:
    """Hold the report and every check against the posture, in the order of their names."""
    subject = policy.tagged(subject)
    before, doubled = failing_since or {}, _copied(policy, subject)
    if posture is None:
        # Nothing was seen to fail, so no grace begins and none is forgotten.
        known = ((name, since) for name, since in before.items() if name in policy.checks)
        unreported = _unreported(policy, min(before.get(REPORT, now), now))
        kept = (Judgement(name, None, min(since, now), None) for name, since in known)
        return [unreported, *doubled, *login.judgements(policy, subject, before, now=now), *kept]
    return [
        _report(policy, posture, now=now),
        *doubled,
        *login.judgements(policy, subject, before, now=now),
        *(_judgement(policy, name, subject, posture, before.get(name), now=now) for name in policy.checks),
    ]


def decided(
    policy: Policy, subject: Subject, judged: Sequence[Judgement], *, now: datetime, answers: Answers = NO_ANSWERS
) -> Decision:
    """Draw the conclusion from the judgements about one device."""
    subject = policy.tagged(subject)
    findings = tuple(j.finding for j in judged if j.finding is not None)
    tier = policy.worst([finding.tier for finding in findings if finding.effective])
    reached = standing.reach(policy, subject, tier, now=now, answers=answers)
    judged = [*judged, *reached.asked]
    changes = (*(j.changes_at for j in judged), reached.changes_at)
    return Decision(
        tier=tier,
        findings=(*findings, *(j.finding for j in reached.asked if j.finding is not None)),
        resources=reached.resources,
        permits=reached.permits,
        routes=standing.routes(policy, subject, answers),
        policy_version=policy.version,
        evaluated_at=now,
        valid_until=min((at for at in changes if at is not None), default=None),
        failing_since={j.check: j.since for j in judged if j.since is not None},
        rate=policy.rate(subject),
        names=standing.asked_names(policy, subject),
        step_up=reached.step_up,
    )


def _copied(policy: Policy, subject: Subject) -> list[Judgement]:
    if subject.copied_since is None:
        return []
    reason = "the key of this device is also used by another machine"
    fix = "ask an administrator, who decides which of the two is the right one"
    finding = Finding(COPIED, reason, policy.worst_tier, True, subject.copied_since, None, fix)
    return [Judgement(COPIED, finding, None, None)]


def _unreported(policy: Policy, since: datetime) -> Judgement:
    finding = Finding(REPORT, "the device has not reported yet", policy.worst_tier, True, since, None, None)
    return Judgement(REPORT, finding, since, None)


def _report(policy: Policy, posture: Posture, *, now: datetime) -> Judgement:
    outcome = ReportAge(check="report-age", max_age=MAXIMUM_REPORT_AGE, warn=True).evaluate(posture, now=now)
    if not outcome.reasons:
        return Judgement(REPORT, None, None, outcome.changes_at)
    tier = policy.session.without_report or policy.worst_tier
    since = posture.received_at + MAXIMUM_REPORT_AGE
    fix = ReportAge.default_fixes.get(platform(posture) or "")
    return Judgement(
        REPORT, Finding(REPORT, outcome.reasons[0], tier, True, since, None, fix), None, outcome.changes_at
    )


def _judgement(
    policy: Policy, name: str, subject: Subject, posture: Posture, before: datetime | None, *, now: datetime
) -> Judgement:
    check = policy.checks[name]
    concerned = _concerns(check, subject, posture)
    outcome = look(check, posture, now=now) if concerned else Outcome((), None, {})
    since = min(before, now) if before is not None else now if outcome.reasons else None
    grace_until = since + check.grace if since is not None and check.grace is not None else None
    in_grace = grace_until is not None and now < grace_until
    changes = [at for at in (outcome.changes_at, grace_until if in_grace else None) if at is not None]
    changes_at = min(changes, default=None)
    if not outcome.reasons:
        return Judgement(name, None, since if in_grace else None, changes_at, outcome.evidence, concerned)
    assert since is not None
    finding = _finding(
        policy, name, outcome, platform(posture), since=since, grace_until=grace_until, in_grace=in_grace
    )
    return Judgement(name, finding, since, changes_at, outcome.evidence)


def _finding(
    policy: Policy,
    name: str,
    outcome: Outcome,
    family: str | None,
    *,
    since: datetime,
    grace_until: datetime | None,
    in_grace: bool,
) -> Finding:
    check = policy.checks[name]
    fix = check.fix_for(family, outcome.values)
    return Finding(
        check=name,
        reason=_told("; ".join(outcome.reasons)),
        tier=check.otherwise or policy.tiers[0],
        effective=not (check.warn or in_grace),
        since=since,
        grace_until=grace_until,
        fix=_told(fix) if fix else None,
        evidence=outcome.evidence,
        explicit=check.severity is not None,
        owner=check.owner,
        link=check.link,
    )


def _concerns(check: Check, subject: Subject, posture: Posture) -> bool:
    if check.devices is not None and subject.device not in check.devices:
        return False
    if check.groups is not None and not concerns(check.groups, subject):
        return False
    if check.tags is not None and subject.tags.isdisjoint(check.tags):
        return False
    return check.platforms is None or platform(posture) in (None, *check.platforms)


def look(check: Check, posture: Posture, *, now: datetime) -> Outcome:
    """Evaluate one check; whatever goes wrong with it is a failure of the check."""
    try:
        return check.evaluate(posture, now=now)
    except Exception as error:  # a broken check must fail, never pass and never take the gateway down
        return Outcome((f"the check could not be evaluated ({type(error).__name__})",), None, {})


def _told(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
