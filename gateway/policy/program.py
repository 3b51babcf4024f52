"""A policy made ready to decide often: who is concerned by what, screens in place of checks, answers that are kept.

It decides as `engine.py` says, to the last microsecond: what a screen cannot affirm is judged by the engine itself, and what is
kept are answers of `standing.py` under everything that they depend on. One is made for each policy, and lives as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.policy import login, standing
from gateway.policy.checks.ask import ALWAYS, Screen
from gateway.policy.checks.check import Check
from gateway.policy.document import Deny, Grant, Rule
from gateway.policy.model import EVERYONE, Answers, Subject
from gateway.policy.policy import Policy, concerns
from gateway.policy.standing import Reach

MOST_KEPT = 4_096
"""Answers that are kept; a policy has few different ones, and a hostile fleet must not fill the memory."""


Sieve = tuple[str, Screen, Check | None]
"""A check that concerns these groups, by name. The last is the check when it also names platforms, devices or tags."""


@dataclass(slots=True)
class Class:
    """All subjects that belong to the same of the policy's groups: what concerns them, and at which tier."""

    sieves: tuple[Sieve, ...]
    grants: tuple[tuple[Grant, ...], ...]
    denies: tuple[Deny, ...]
    member: Subject
    rate: int | None
    names: tuple[str, ...]
    plain: dict[int, Reach] = field(default_factory=dict)
    kept: dict[Any, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    routes: dict[Any, tuple[str, ...]] = field(default_factory=dict)


class Program:
    """One policy, compiled. Safe to use from several threads: what two of them make at the same time is equal."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.ranks = {tier: rank for rank, tier in enumerate(policy.tiers)}
        self._screens = {name: check.screen() for name, check in policy.checks.items()}
        rules: Iterable[Any] = (*policy.access, *policy.deny, *policy.limits)
        named = [rule.groups for rule in rules] + [check.groups for check in policy.checks.values() if check.groups]
        self._groups = frozenset(group for groups in named for group in groups) - {EVERYONE}
        self._classes: dict[frozenset[str], Class] = {}
        self._open: dict[str, tuple[datetime, datetime, bool]] = {}

    def of(self, subject: Subject) -> Class:
        """Give what concerns the subject by group."""
        key = self._groups & subject.groups
        found = self._classes.get(key)
        if found is None:
            found = self._class(key)
            _keep(self._classes, key, found)
        return found

    def reach(self, about: Class, subject: Subject, rank: int, now: datetime, answers: Answers) -> Reach:
        """Answer as `standing.reach` does."""
        plain = about.plain.get(rank)
        if plain is not None:
            return plain
        if rank == len(self.policy.tiers) - 1:
            return Reach()
        return self._circumstantial(about, subject, rank, now, answers)

    def routes(self, about: Class, answers: Answers) -> tuple[str, ...]:
        key = tuple(answers.get(name) for name in about.names)
        found = about.routes.get(key)
        if found is None:
            found = standing.routes(self.policy, about.member, answers)
            _keep(about.routes, key, found)
        return found

    def _circumstantial(self, about: Class, subject: Subject, rank: int, now: datetime, answers: Answers) -> Reach:
        soonest = ALWAYS
        states: list[bool] = []
        for rule in (*about.grants[rank], *about.denies):
            held, at = self._holds(rule, subject, now)
            states.append(held)
            soonest = at if at is not None and at < soonest else soonest
        grants, denies = about.grants[rank], about.denies
        names = {name for grant, held in zip(grants, states, strict=False) if held for name in grant.resources}
        gone = standing.taken(
            self.policy, [deny for deny, held in zip(denies, states[len(grants) :], strict=True) if held]
        )
        opened, closed, asked = login.opened(self.policy, subject, sorted(names - gone), now=now)
        key = (opened, gone, tuple(answers.get(name) for name in about.names))
        kept = about.kept.get(key)
        if kept is None:
            kept = standing.left(self.policy, opened, gone, answers)
            _keep(about.kept, key, kept)
        return Reach(*kept, closed, tuple(asked), None if soonest is ALWAYS else soonest)

    def _holds(self, rule: Rule, subject: Subject, now: datetime) -> standing.Held:
        if not standing.applies(self.policy, rule, subject):
            return False, None
        if rule.when is None:
            return True, None
        states = [self._window(name, now) for name in rule.when]
        return any(is_open for _, _, is_open in states), min(until for _, until, _ in states)

    def _window(self, name: str, now: datetime) -> tuple[datetime, datetime, bool]:
        """Windows are the same for everybody, and their edges far apart: one look lasts until the next edge."""
        known = self._open.get(name)
        if known is None or not known[0] <= now < known[1]:
            window = self.policy.windows[name]
            known = self._open[name] = (now, window.next_edge(now), window.open_at(now))
        return known

    def _class(self, groups: frozenset[str]) -> Class:
        policy, member = self.policy, Subject("", groups, "")
        grants = [grant for grant in policy.access if concerns(grant.groups, member)]
        at_rank = [tuple(grant for grant in grants if self.ranks[grant.tier] >= rank) for rank in self.ranks.values()]
        made = Class(
            sieves=tuple(self._sieves(member)),
            grants=tuple(at_rank),
            denies=tuple(deny for deny in policy.deny if concerns(deny.groups, member)),
            member=member,
            rate=policy.rate(member),
            names=standing.asked_names(policy, member),
        )
        for rank, of_rank in enumerate(at_rank[:-1]):
            if self._is_plain((*of_rank, *made.denies)):
                made.plain[rank] = standing.concluded(policy, member, of_rank, made.denies, now=ALWAYS, answers={})
        return made

    def _sieves(self, member: Subject) -> Iterable[Sieve]:
        for name, check in self.policy.checks.items():
            if check.groups is None or concerns(check.groups, member):
                limited = check.platforms or check.devices or check.tags
                yield name, self._screens[name], check if limited else None

    def _is_plain(self, rules: Iterable[Rule]) -> bool:
        """Say whether nothing but group and tier decides about these rules and what they open."""
        for rule in rules:
            if any(getattr(rule, key) is not None for key in ("tags", "devices", "when", "networks", "countries")):
                return False
            named = rule.resources if isinstance(rule, Grant | Deny) else None
            resources = [self.policy.resources[name] for name in named or ()]
            if any(one.names or one.max_age is not None or one.acr_values for one in resources):
                return False
        return True


def _keep(memory: dict[Any, Any], key: Any, value: Any) -> None:
    if len(memory) >= MOST_KEPT:
        memory.clear()
    memory[key] = value
