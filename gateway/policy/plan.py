"""A plan: what becomes of every live session when a policy is applied now. It asks the engine and judges nothing itself.

A session is **killed** when the policy denies it or its idle limit has passed by then; **downgraded** when its tier is worse or
something that it reached is out of reach; **restored** when its tier is better or it reaches more, and loses nothing;
**changed** when it reaches the same and something else differs: a finding, the rate, the name of a resource. What ends by itself at this moment is counted apart.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from ipaddress import collapse_addresses

from gateway.packet.permits import Permit
from gateway.policy.model import Decision, Finding, Subject
from gateway.policy.policy import Policy
from gateway.policy.question import Question


class Effect(enum.StrEnum):
    """What applying a policy does to one session."""

    KILLED = "killed"
    DOWNGRADED = "downgraded"
    RESTORED = "restored"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    ENDING = "ending"


IDLE = "session.idle"
RECORD = "record-broken"
ACCESS = "access"
"""Causes that are no check: the idle limit, a row that cannot be read, and the access rules themselves."""


@dataclass(frozen=True, slots=True)
class Live:
    """A live session as it stands. `question` None: its record cannot be read. `over`: it ends by time, whatever the policy."""

    session: str
    user: str
    device: str
    device_name: str
    tier: str
    resources: tuple[str, ...]
    permits: tuple[str, ...]
    findings: frozenset[tuple[str, bool]]
    rate: int | None
    active_at: datetime
    question: Question | None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Grace:
    """A finding that changes nothing yet."""

    check: str
    until: datetime
    tier: str


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of one session, and why."""

    session: str
    user: str
    device: str
    device_name: str
    effect: Effect
    before: str
    after: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    permits: tuple[str, ...]
    causes: tuple[str, ...]
    explicit: bool
    graces: tuple[Grace, ...]


@dataclass(slots=True)
class Plan:
    """All moves but the sessions that stay as they are; of those only the number is kept, so that memory stays small."""

    policy: Policy
    at: datetime
    counts: Counter[Effect] = field(default_factory=Counter)
    moves: list[Move] = field(default_factory=list)

    @property
    def sessions(self) -> int:
        return sum(self.counts.values())

    def take(self, move: Move) -> None:
        self.counts[move.effect] += 1
        if move.effect is not Effect.UNCHANGED or move.graces:
            self.moves.append(move)

    def of(self, *effects: Effect) -> Iterator[Move]:
        return (move for move in self.moves if move.effect in effects)


def planned(policy: Policy, fleet: Iterable[Live], *, at: datetime) -> Plan:
    """Plan the policy for every session of the fleet."""
    plan = Plan(policy, at)
    for live in fleet:
        plan.take(move(policy, live))
    return plan


def move(policy: Policy, live: Live) -> Move:
    """Say what becomes of one session."""
    if live.over:
        return _ended(policy, live, Effect.ENDING, ())
    if live.question is None:
        return _ended(policy, live, Effect.KILLED, (RECORD,))
    if idle(live.active_at, policy, live.question.subject, now=live.question.at):
        return _ended(policy, live, Effect.KILLED, (IDLE,))
    decision = live.question.answered(policy)
    lost = _uncovered(live.permits, decision.permits)
    gained = _uncovered(decision.permits, live.permits)
    effect = _effect(policy, live, decision, gained=gained)
    found = blamed(policy, live.tier, decision) if effect in (Effect.KILLED, Effect.DOWNGRADED) else []
    return Move(
        session=live.session,
        user=live.user,
        device=live.device,
        device_name=live.device_name,
        effect=effect,
        before=live.tier,
        after=decision.tier,
        lost=_names(live.resources, decision.resources, lost),
        gained=_names(decision.resources, live.resources, gained),
        permits=decision.permits,
        causes=tuple(finding.check for finding in found)
        or ((ACCESS,) if effect in (Effect.KILLED, Effect.DOWNGRADED) else ()),
        explicit=any(finding.explicit for finding in found),
        graces=tuple(
            Grace(f.check, f.grace_until, f.tier) for f in decision.findings if not f.effective and f.grace_until
        ),
    )


def idle(active_at: datetime, policy: Policy, subject: Subject, *, now: datetime) -> bool:
    """Say whether the policy ends a session of this subject that last sent something at `active_at`."""
    return active_at + policy.idle(subject) <= now


def _ended(policy: Policy, live: Live, effect: Effect, causes: tuple[str, ...]) -> Move:
    who = (live.session, live.user, live.device, live.device_name)
    return Move(*who, effect, live.tier, policy.denied, live.resources, (), (), causes, False, ())


def loses(policy: Policy, tier: str, permits: Sequence[str], decision: Decision) -> bool:
    """Say whether the decision takes something away from a session with this tier and these permits."""
    rank = policy.tiers.index(tier) if tier in policy.tiers else len(policy.tiers)
    worse = decision.tier == policy.denied or policy.tiers.index(decision.tier) > rank
    return worse or bool(_uncovered(tuple(permits), decision.permits))


def blamed(policy: Policy, tier: str, decision: Decision) -> list[Finding]:
    """List the findings that lead below `tier`; the access rules alone may take something away too."""
    was = policy.tiers.index(tier) if tier in policy.tiers else 0
    return [f for f in decision.findings if f.effective and policy.tiers.index(f.tier) > was]


def _effect(policy: Policy, live: Live, decision: Decision, *, gained: Sequence[str]) -> Effect:
    if decision.tier == policy.denied:
        return Effect.KILLED
    if loses(policy, live.tier, live.permits, decision):
        return Effect.DOWNGRADED
    was = policy.tiers.index(live.tier) if live.tier in policy.tiers else -1
    if gained or policy.tiers.index(decision.tier) < was:
        return Effect.RESTORED
    failing = frozenset((finding.check, finding.effective) for finding in decision.findings)
    reach = (decision.tier, decision.resources, decision.permits, decision.rate)
    same = (failing, reach) == (live.findings, (live.tier, live.resources, live.permits, live.rate))
    return Effect.UNCHANGED if same else Effect.CHANGED


def _names(those: Sequence[str], these: Sequence[str], permits: Sequence[str]) -> tuple[str, ...]:
    """Name the resources that make the difference; a resource that keeps its name and changes its place is one of them."""
    if not permits:
        return ()
    return tuple(sorted(set(those) - set(these))) or tuple(sorted(set(those) & set(these)))


@lru_cache(maxsize=4096)
def _uncovered(permits: tuple[str, ...], by: tuple[str, ...]) -> tuple[str, ...]:
    """The permits that let something pass that `by` does not. Compared by what passes, so that a split network is no loss."""
    there = set(by)
    left = [permit for permit in permits if permit not in there]
    passing = [Permit.parse(permit) for permit in by] if left else []
    return tuple(text for text in left if not _covered(Permit.parse(text), passing))


def _covered(permit: Permit, by: Sequence[Permit]) -> bool:
    wide = [
        other.network
        for other in by
        if other.network.version == permit.network.version
        and (other.protocol is None or (other.protocol == permit.protocol))
        and other.low <= permit.low
        and permit.high <= other.high
    ]
    return any(permit.network.subnet_of(network) for network in collapse_addresses(wide))  # type: ignore[type-var,arg-type]


@dataclass(frozen=True, slots=True)
class Limit:
    """The most sessions that may be affected: a number, or a share of all."""

    text: str
    count: int | None
    percent: float | None

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `0`, `12` or `2.5%`. Raises ValueError that says what is allowed."""
        if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?%", text, re.ASCII) and float(text[:-1]) <= 100:
            return cls(text, None, float(text[:-1]))
        if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
            return cls(text, int(text), None)
        raise ValueError(f"{text!r} is no limit; allowed is a number of sessions or a share, for example 0, 12 or 2.5%")

    def exceeded(self, affected: int, *, of: int) -> bool:
        if self.count is not None:
            return affected > self.count
        assert self.percent is not None
        return affected * 100 > self.percent * of
