"""A policy that holds: what `load.py` makes of the files and `engine.py` decides by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from gateway.policy.checks import Check
from gateway.policy.document import Deny, Grant, Limit, Resource, SessionRules, SignalRules
from gateway.policy.model import EVERYONE, Subject
from gateway.policy.windows import Window

NO_RULES = SignalRules()


@dataclass(frozen=True, slots=True)
class Policy:
    """The merged document with its names resolved. `version` is the SHA-256 of its canonical form.

    `tiers` are best first; the last one, `denied`, is never a session. `memo` is the engine's, which keeps there what it has
    made of the policy.
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
    deny: tuple[Deny, ...] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)
    networks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    memo: dict[str, Any] = field(init=False, default_factory=dict, compare=False, repr=False)

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

    def tagged(self, subject: Subject) -> Subject:
        """Give the subject the tags that the policy has for its device, beside those that it brings."""
        if not self.tags:
            return subject
        own = {tag for tag, devices in self.tags.items() if subject.device in devices}
        return replace(subject, tags=subject.tags | own) if own - subject.tags else subject

    def rate(self, subject: Subject) -> int | None:
        """The lowest rate of the limits that concern the subject, in bits per second; None: unlimited."""
        return min((limit.rate for limit in self._limits(subject) if limit.rate is not None), default=None)

    def sessions(self, subject: Subject) -> int | None:
        """How many sessions the subject's user may have at a time; None: as many as there are devices."""
        return min((limit.sessions for limit in self._limits(subject) if limit.sessions is not None), default=None)

    def max_duration(self, subject: Subject) -> timedelta:
        limits = [limit.max_duration for limit in self._limits(subject) if limit.max_duration is not None]
        return min([self.session.max_duration, *limits])

    def idle(self, subject: Subject) -> timedelta:
        limits = [limit.idle for limit in self._limits(subject) if limit.idle is not None]
        return min([self.session.idle, *limits])

    def names(self) -> tuple[str, ...]:
        """Every DNS name that the gateway has to resolve, sorted."""
        return tuple(sorted({name for resource in self.resources.values() for name in resource.names or ()}))

    def countries(self) -> bool:
        """Say whether a rule asks where in the world somebody is."""
        return any(rule.countries is not None for rule in (*self.access, *self.deny))

    def _limits(self, subject: Subject) -> list[Limit]:
        return [limit for limit in self.limits if concerns(limit.groups, subject)]


def concerns(groups: Collection[str], subject: Subject) -> bool:
    return EVERYONE in groups or not subject.groups.isdisjoint(groups)
