"""A policy that holds: what `load.py` makes of the files and `engine.py` decides by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gateway.policy.checks import Check
from gateway.policy.document import Grant, Limit, Resource, SessionRules, SignalRules
from gateway.policy.model import EVERYONE, Subject

NO_RULES = SignalRules()


@dataclass(frozen=True, slots=True)
class Policy:
    """The merged document with its names resolved. `version` is the SHA-256 of its canonical form.

    `tiers` are best first; the last one, `denied`, is never a session.
    """

    name: str
    tiers: tuple[str, ...]
    resources: Mapping[str, Resource]
    access: tuple[Grant, ...]
    checks: Mapping[str, Check]
    session: SessionRules
    limits: tuple[Limit, ...]
    version: str
    signals: SignalRules = NO_RULES

    @property
    def denied(self) -> str:
        return self.tiers[-1]

    @property
    def worst_tier(self) -> str:
        """The worst tier that still is a session: quarantine, in most policies."""
        return self.tiers[-2]

    @property
    def without_login(self) -> str:
        """The tier of a session whose login is too old; the last one ends it."""
        return self.session.without_login or self.denied

    def worst(self, tiers: Collection[str]) -> str:
        """The worst of `tiers`; of none, the best tier."""
        return max(tiers, key=self.tiers.index, default=self.tiers[0])

    def reachable(self, subject: Subject, tier: str) -> tuple[str, ...]:
        """Name, sorted, the resources that the subject reaches at `tier`; at the last tier none."""
        if tier == self.denied:
            return ()
        rank = self.tiers.index(tier)
        granted = (g for g in self.access if self.tiers.index(g.tier) >= rank and concerns(g.groups, subject))
        return tuple(sorted({name for grant in granted for name in grant.resources}))

    def permits(self, resources: Collection[str]) -> tuple[str, ...]:
        """List the permits of these resources as UAPI strings, sorted and without duplicates."""
        return tuple(sorted({permit for name in resources for permit in self.resources[name].permits()}))

    def destinations(self, resources: Collection[str]) -> tuple[str, ...]:
        return tuple(sorted({network for name in resources for network in self.resources[name].destinations}))

    def rate(self, subject: Subject) -> int | None:
        """The lowest rate of the limits that concern the subject, in bits per second; None: unlimited."""
        return min((limit.rate for limit in self.limits if concerns(limit.groups, subject)), default=None)


def concerns(groups: Collection[str], subject: Subject) -> bool:
    return EVERYONE in groups or not subject.groups.isdisjoint(groups)
