"""A decision as a story: what was looked at, what came of it, what would be better, and what happens next.

It asks the engine again and again and never judges by itself: a repair is a finding less, the future is the same facts at
a later time. Two futures are told, because a report that stops coming hides everything else: one in which nothing is
heard of the device any more, and one in which it goes on reporting the same facts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent.wire import Fact
from gateway.policy import standing
from gateway.policy.checks import Check
from gateway.policy.checks.reporting import ReportAge
from gateway.policy.document import NO_ANSWERS
from gateway.policy.engine import decide, decided, judgements, look
from gateway.policy.judgement import Judgement
from gateway.policy.model import Answers, Decision, Finding, Posture, Subject
from gateway.policy.policy import Policy

MOST_STEPS = 64
"""Instants that are tried: a grace and an age of every check of a large policy."""
MOST_EVENTS = 8
"""What still is a short story."""


@dataclass(frozen=True, slots=True)
class Better:
    """A better tier, and the fewest findings that must go for it. `gained` are the resources that it adds."""

    tier: str
    repairs: tuple[Finding, ...]
    gained: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """At this instant, by time alone, this changes."""

    at: datetime
    tier: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Story:
    """All that there is to tell about one decision. `silent`: the first change if no report comes any more."""

    policy: Policy
    subject: Subject
    posture: Posture | None
    judged: tuple[Judgement, ...]
    decision: Decision
    better: tuple[Better, ...]
    silent: Event | None
    reporting: tuple[Event, ...]

    @property
    def facts(self) -> Mapping[str, Fact]:
        """The facts that checks looked at, by name."""
        seen = {name: fact for judgement in self.judged for name, fact in judgement.evidence.items()}
        return dict(sorted(seen.items()))

    @property
    def passed(self) -> list[str]:
        """The checks that the device passed. Without a report none was looked at."""
        if self.posture is None:
            return []
        return [j.check for j in self.judged if j.concerned and j.finding is None and j.check in self.policy.checks]

    @property
    def unconcerned(self) -> list[str]:
        return [j.check for j in self.judged if not j.concerned]


def told(
    policy: Policy,
    subject: Subject,
    posture: Posture | None,
    *,
    now: datetime,
    failing_since: Mapping[str, datetime] | None = None,
    answers: Answers = NO_ANSWERS,
) -> Story:
    """Tell the decision that `engine.decide` makes of the same arguments."""
    judged = judgements(policy, subject, posture, now=now, failing_since=failing_since)
    decision = decided(policy, subject, judged, now=now, answers=answers)
    return Story(
        policy=policy,
        subject=subject,
        posture=posture,
        judged=tuple(judged),
        decision=decision,
        better=tuple(better(policy, subject, decision, answers=answers)) if posture is not None else (),
        silent=next(_silent(policy, subject, posture, decision, answers), None),
        reporting=tuple(_reporting(policy, subject, posture, judged, decision, answers=answers))
        if posture is not None
        else (),
    )


def better(policy: Policy, subject: Subject, decision: Decision, *, answers: Answers = NO_ANSWERS) -> Iterator[Better]:
    """List the better tiers that repairs lead to, the nearest first. Every finding that leads below a tier must go."""
    effective = [finding for finding in decision.findings if finding.effective]
    reached = decision.tier
    for tier in reversed(policy.tiers[: policy.tiers.index(decision.tier)]):
        below = [f for f in effective if policy.tiers.index(f.tier) > policy.tiers.index(tier)]
        lands = policy.worst([f.tier for f in effective if f not in below])
        if lands != reached and lands == tier:
            there = standing.reach(policy, policy.tagged(subject), tier, now=decision.evaluated_at, answers=answers)
            gained = set(there.resources) - set(decision.resources)
            yield Better(tier, tuple(below), tuple(sorted(gained)))
            reached = lands


def _silent(
    policy: Policy, subject: Subject, posture: Posture | None, decision: Decision, answers: Answers
) -> Iterator[Event]:
    for _ in range(MOST_STEPS):
        if decision.valid_until is None:
            return
        at = decision.valid_until
        after = decide(policy, subject, posture, now=at, failing_since=decision.failing_since, answers=answers)
        yield from _event(decision, after)
        decision = after


def _reporting(
    policy: Policy,
    subject: Subject,
    posture: Posture,
    judged: Sequence[Judgement],
    decision: Decision,
    *,
    answers: Answers,
) -> Iterator[Event]:
    told = 0
    for _ in range(MOST_STEPS):
        instants = _instants(policy, posture, judged, now=decision.evaluated_at)
        at = min((instant for instant in instants if instant > decision.evaluated_at), default=None)
        if at is None or told == MOST_EVENTS:
            return
        posture = replace(posture, observed_at=at, received_at=at)
        judged = judgements(policy, subject, posture, now=at, failing_since=decision.failing_since)
        after = decided(policy, subject, judged, now=at, answers=answers)
        for event in _event(decision, after):
            told += 1
            yield event
        decision = after


def _instants(policy: Policy, posture: Posture, judged: Sequence[Judgement], *, now: datetime) -> Iterator[datetime]:
    """When something other than the age of the report could change."""
    for judgement in judged:
        check = policy.checks.get(judgement.check)
        if check is None:
            continue
        if judgement.since is not None and check.grace is not None:
            yield judgement.since + check.grace
        for leaf in _leaves(check) if judgement.concerned else ():
            changes_at = None if isinstance(leaf, ReportAge) else look(leaf, posture, now=now).changes_at
            if changes_at is not None:
                yield changes_at


def _leaves(check: Check) -> Iterator[Check]:
    if not check.parts:
        yield check
    for part in check.parts:
        yield from _leaves(part)


def _event(before: Decision, after: Decision) -> Iterator[Event]:
    changes = tuple(_changes(before, after))
    if changes:
        yield Event(after.evaluated_at, after.tier, changes)


def _changes(before: Decision, after: Decision) -> Iterator[str]:
    was = {finding.check: finding for finding in before.findings}
    for finding in after.findings:
        earlier = was.pop(finding.check, None)
        if earlier is None:
            yield f"{finding.check} fails: {finding.reason}"
        elif finding.effective and not earlier.effective:
            yield f"the grace of {finding.check} ends"
    yield from (f"{name} passes" for name in was)
    if after.tier != before.tier:
        lost = ", ".join(sorted(set(before.resources) - set(after.resources)))
        won = ", ".join(sorted(set(after.resources) - set(before.resources)))
        effect = f", without {lost}" if lost else f", with {won}" if won else ""
        yield f"tier {after.tier}{effect}"
