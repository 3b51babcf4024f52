"""A replay: what another policy would have decided over a recorded time, session by session.

Between two rows of the record a device went on reporting the same facts, so the policy is asked again at every instant at
which time alone could change its answer; where a session ended before its lease was renewed, its reports had stopped. Of
reports that were merely late nothing is recorded, unless a verdict changed.

A verdict of the same policy is made again from what was recorded, and its digest compared: it must come out bit for bit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from gateway.policy import record
from gateway.policy.checks import Check
from gateway.policy.checks.ask import ALWAYS
from gateway.policy.checks.reporting import ReportAge
from gateway.policy.engine import look, outlook
from gateway.policy.judgement import Judgement
from gateway.policy.model import Decision, Posture, Subject
from gateway.policy.policy import Policy
from gateway.policy.question import Question
from gateway.policy.record import Recorded

MOST_STEPS = 64
"""Instants that are tried between two rows: a grace and an age of every check of a large policy."""

MOST_NAMED = 20
"""Verdicts that do not come out the same: enough to look into."""

ZERO = timedelta()


@dataclass(frozen=True, slots=True)
class Course:
    """One recorded session with its decisions, oldest first, until it ended or the record does."""

    session: str
    device: str
    user: str
    ended_at: datetime
    steps: Sequence[Recorded]


@dataclass(slots=True)
class Toll:
    """What was lost by one cause, on one day, or by one user."""

    sessions: set[str] = field(default_factory=set)
    lost: timedelta = ZERO

    def add(self, session: str, lost: timedelta) -> None:
        self.sessions.add(session)
        self.lost += lost

    def join(self, other: Toll) -> None:
        self.sessions |= other.sessions
        self.lost += other.lost


@dataclass(slots=True)
class Replay:
    """The sums over all sessions. `killed` and `downgraded` name the sessions that lost something, each once."""

    since: datetime
    until: datetime
    devices: int = 0
    sessions: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    downgraded: set[str] = field(default_factory=set)
    lost: timedelta = ZERO
    gained: timedelta = ZERO
    by_check: dict[str, Toll] = field(default_factory=lambda: defaultdict(Toll))
    by_day: dict[date, Toll] = field(default_factory=lambda: defaultdict(Toll))
    by_user: dict[str, Toll] = field(default_factory=lambda: defaultdict(Toll))

    def join(self, other: Replay) -> None:
        """Add what was replayed elsewhere, of other devices."""
        self.devices += other.devices
        self.sessions += other.sessions
        self.verdicts.update(other.verdicts)
        self.differing = [*self.differing, *other.differing][:MOST_NAMED]
        self.killed |= other.killed
        self.downgraded |= other.downgraded
        self.lost += other.lost
        self.gained += other.gained
        for mine, theirs in ((self.by_check, other.by_check), (self.by_user, other.by_user)):
            for name, toll in theirs.items():
                mine[name].join(toll)
        for day, toll in other.by_day.items():
            self.by_day[day].join(toll)


class Replayer:
    """Takes the sessions of one device after the other, each device's in order."""

    def __init__(self, policy: Policy, *, since: datetime, until: datetime) -> None:
        self.result = Replay(since, until)
        self._policy = policy
        self._rank = {tier: rank for rank, tier in enumerate(policy.tiers)}
        self._by_age = {name for name, check in policy.checks.items() if _looks_at_age(check)}
        self._mixed = {name for name in self._by_age if policy.checks[name].parts}
        self._device = ""
        self._failing: Mapping[str, datetime] = {}

    def take(self, course: Course) -> None:
        """Replay one session."""
        self.result.sessions += 1
        if course.device != self._device:
            self._device, self._failing = course.device, course.steps[0].question.failing_since
            self.result.devices += 1
        ends = [step.question.at for step in course.steps[1:]] + [min(course.ended_at, self.result.until)]
        for step, end in zip(course.steps, ends, strict=True):
            self._replay(course, step, end)

    def _replay(self, course: Course, step: Recorded, end: datetime) -> None:
        asked = step.question
        same = self._failing == asked.failing_since
        decision = (asked if same else replace(asked, failing_since=self._failing)).answered(self._policy)
        self._verify(step, decision if same else None)
        for begin, until, after in self._through(asked, decision, end):
            self._failing = after.failing_since
            self._compare(course, step.tier, after, max(begin, self.result.since), until)

    def _verify(self, step: Recorded, decision: Decision | None) -> None:
        if step.policy_version != self._policy.version:
            self.result.verdicts["of another policy"] += 1
            return
        again = decision or step.question.answered(self._policy)
        reproduced = record.digest(again) == step.digest
        self.result.verdicts["reproduced" if reproduced else "different"] += 1
        if not reproduced and len(self.result.differing) < MOST_NAMED:
            self.result.differing.append(step.trace)

    def _through(
        self, asked: Question, decision: Decision, end: datetime
    ) -> Iterator[tuple[datetime, datetime, Decision]]:
        """Give the decisions that follow each other until `end`, by time alone."""
        posture, begin = asked.posture, asked.at
        reporting = posture is not None and end - posture.received_at > self._policy.session.lease
        before = self._failing
        for _ in range(MOST_STEPS):
            if posture is None:
                break
            at = self._next(asked.subject, posture, before, now=begin) if reporting else decision.valid_until
            if at is None or at >= end:
                break
            yield begin, at, decision
            posture = replace(posture, observed_at=at, received_at=at) if reporting else posture
            before, begin = decision.failing_since, at
            decision = Question(asked.subject, posture, at, before, asked.answers).answered(self._policy)
        yield begin, end, decision

    def _next(
        self, subject: Subject, posture: Posture, before: Mapping[str, datetime], *, now: datetime
    ) -> datetime | None:
        """When something other than the age of the report could change, if reports go on."""
        judged, soonest = outlook(
            self._policy, subject, posture, now=now, failing_since=before, judged=self._mixed, endless=self._by_age
        )
        instants = [at for judgement in judged for at in self._instants(posture, judgement, now=now) if at > now]
        if soonest is not ALWAYS:
            instants.append(soonest)
        return min(instants, default=None)

    def _instants(self, posture: Posture, judgement: Judgement, *, now: datetime) -> Iterator[datetime]:
        if judgement.check not in self._by_age:
            if judgement.changes_at is not None:
                yield judgement.changes_at
            return
        check = self._policy.checks[judgement.check]
        if judgement.since is not None and check.grace is not None:
            yield judgement.since + check.grace
        for leaf in _leaves(check) if judgement.concerned else ():
            changes_at = None if isinstance(leaf, ReportAge) else look(leaf, posture, now=now).changes_at
            if changes_at is not None:
                yield changes_at

    def _compare(self, course: Course, tier: str, decision: Decision, begin: datetime, end: datetime) -> None:
        was, rank = self._rank.get(tier), self._rank[decision.tier]
        if begin >= end or was is None or rank == was:
            return
        if rank < was:
            self.result.gained += end - begin
            return
        (self.result.killed if decision.tier == self._policy.denied else self.result.downgraded).add(course.session)
        self.result.lost += end - begin
        for finding in decision.findings:
            if finding.effective and self._rank[finding.tier] > was:
                self.result.by_check[finding.check].add(course.session, end - begin)
        self.result.by_user[course.user].add(course.session, end - begin)
        for day, span in _days(begin, end):
            self.result.by_day[day].add(course.session, span)


def replayed(policy: Policy, courses: Iterable[Course], *, since: datetime, until: datetime) -> Replay:
    """Replay all of them."""
    replayer = Replayer(policy, since=since, until=until)
    for course in courses:
        replayer.take(course)
    return replayer.result


def _looks_at_age(check: Check) -> bool:
    return any(isinstance(leaf, ReportAge) for leaf in _leaves(check))


def _leaves(check: Check) -> Iterator[Check]:
    if not check.parts:
        yield check
    for part in check.parts:
        yield from _leaves(part)


def _days(begin: datetime, end: datetime) -> Iterator[tuple[date, timedelta]]:
    """Split a time at midnight UTC."""
    while begin < end:
        midnight = datetime.combine(begin.date() + timedelta(days=1), time(), UTC)
        yield begin.date(), min(end, midnight) - begin
        begin = midnight
