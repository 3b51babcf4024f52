"""What a subject reaches at a tier: what is granted, without what is denied, under the circumstances of this moment.

A grant holds when all of its keys do; what is not known of the subject holds no grant and every deny. A deny takes away the
resources that it names, and every packet into them that another resource would let through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from gateway.policy import login
from gateway.policy.document import Deny, Grant, Rule
from gateway.policy.judgement import Judgement
from gateway.policy.model import Answers, StepUp, Subject
from gateway.policy.policy import Policy, concerns
from gateway.policy.subtraction import without

Held = tuple[bool, datetime | None]
"""Whether something holds now, and when time alone may change that."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What is reached, what another login would open, what is said about that, and when time alone changes the rest."""

    resources: tuple[str, ...] = ()
    permits: tuple[str, ...] = ()
    step_up: tuple[StepUp, ...] = ()
    asked: tuple[Judgement, ...] = ()
    changes_at: datetime | None = None


def reach(policy: Policy, subject: Subject, tier: str, *, now: datetime, answers: Answers) -> Reach:
    """Say what the subject reaches at `tier`; at the last tier nothing."""
    if tier == policy.denied:
        return Reach()
    rank = policy.tiers.index(tier)
    grants = [
        grant for grant in policy.access if policy.tiers.index(grant.tier) >= rank and concerns(grant.groups, subject)
    ]
    denies = [deny for deny in policy.deny if concerns(deny.groups, subject)]
    return concluded(policy, subject, grants, denies, now=now, answers=answers)


def concluded(
    policy: Policy,
    subject: Subject,
    grants: Sequence[Grant],
    denies: Sequence[Deny],
    *,
    now: datetime,
    answers: Answers,
) -> Reach:
    """Hold these rules against the circumstances and draw the conclusion."""
    granted = [(grant, holds(policy, grant, subject, now=now)) for grant in grants]
    denied = [(deny, holds(policy, deny, subject, now=now)) for deny in denies]
    names = sorted({name for grant, (held, _) in granted if held for name in grant.resources})
    gone = taken(policy, [deny for deny, (held, _) in denied if held])
    changes = [at for _, (_, at) in (*granted, *denied) if at is not None]
    opened, closed, asked = login.opened(policy, subject, [name for name in names if name not in gone], now=now)
    resources, permits = left(policy, opened, gone, answers)
    return Reach(resources, permits, closed, tuple(asked), min(changes, default=None))


def taken(policy: Policy, denies: Iterable[Deny]) -> frozenset[str]:
    """Name the resources that these denies take away."""
    return frozenset(
        name for deny in denies for name in (deny.resources if deny.resources is not None else policy.resources)
    )


def left(
    policy: Policy, opened: Collection[str], gone: frozenset[str], answers: Answers
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the resources of which something is left when what is denied is taken out, and their permits."""
    holes = sorted({permit for name in gone for permit in policy.resources[name].permits(answers)})
    resources: list[str] = []
    permits: set[str] = set()
    for name in sorted(set(opened) - gone):
        whole = policy.resources[name].permits(answers)
        rest = without(whole, holes)
        if rest or not whole:  # one without an address yet is granted all the same
            resources.append(name)
        permits.update(rest)
    return tuple(resources), tuple(sorted(permits))


def routes(policy: Policy, subject: Subject, answers: Answers) -> tuple[str, ...]:
    """List the networks that the subject may come to reach at any tier, at any time: a device's routes are to stay."""
    names = {name for grant in policy.access if concerns(grant.groups, subject) for name in grant.resources}
    return tuple(sorted({network for name in names for network in policy.resources[name].networks(answers)}))


def asked_names(policy: Policy, subject: Subject) -> tuple[str, ...]:
    """List the DNS names whose answers matter to the subject."""
    reached = {name for grant in policy.access if concerns(grant.groups, subject) for name in grant.resources}
    return tuple(sorted({host for name in reached for host in policy.resources[name].names or ()}))


def holds(policy: Policy, rule: Rule, subject: Subject, *, now: datetime) -> Held:
    """Say whether the rule holds for somebody whom it concerns by group."""
    if not applies(policy, rule, subject):
        return False, None
    if rule.when is None:
        return True, None
    windows = [policy.windows[name] for name in rule.when]
    return any(window.open_at(now) for window in windows), min(window.next_edge(now) for window in windows)


def applies(policy: Policy, rule: Rule, subject: Subject) -> bool:
    """Say whether the rule is about this subject, at whatever time. What is not known of it applies a deny and no grant."""
    unknown = isinstance(rule, Deny)
    if rule.tags is not None and subject.tags.isdisjoint(rule.tags):
        return False
    if rule.devices is not None and subject.device not in rule.devices:
        return False
    if rule.networks is not None and not _within(policy, rule.networks, subject.address, unknown=unknown):
        return False
    return rule.countries is None or (unknown if subject.country is None else subject.country in rule.countries)


def _within(policy: Policy, names: Iterable[str], address: str | None, *, unknown: bool) -> bool:
    try:
        here = ip_address(address or "")
    except ValueError:
        return unknown
    networks = (_network(network) for name in names for network in policy.networks[name])
    return any(here in network for network in networks if network.version == here.version)


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)
