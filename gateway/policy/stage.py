"""Which policy judges whom: one for everybody, or a new one for some and the one before it for the others."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from gateway.policy.policy import Policy

EVERYBODY = 100


@dataclass(frozen=True, slots=True)
class Budget:
    """What the breaker lets be cut: more than `share` percent of the live sessions by one cause within `window` is held.

    Up to `floor` sessions are never a mass.
    """

    share: int = 20
    window: timedelta = timedelta(minutes=10)
    floor: int = 10

    def allows(self, cuts: int, *, live: int) -> bool:
        return cuts <= self.floor or cuts * 100 <= self.share * live


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy in force. `before` is for whom the stage does not reach; `number` counts applications, 0 is the folder."""

    policy: Policy
    number: int = 0
    before: Policy | None = None
    share: int = EVERYBODY
    groups: frozenset[str] = frozenset()
    budget: Budget | None = None

    def of(self, device: str, groups: Collection[str]) -> Policy:
        """Give the policy that judges this device of a user in these groups."""
        if self.before is None or reached(device, groups, share=self.share, stage=self.groups):
            return self.policy
        return self.before

    @property
    def versions(self) -> frozenset[str]:
        return frozenset({self.policy.version, self.before.version} if self.before else {self.policy.version})


def reached(device: str, groups: Collection[str], *, share: int, stage: Collection[str]) -> bool:
    """Say whether a stage reaches the device: by a group of its user, or by chance that is the same for ever."""
    place = int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], "big") % EVERYBODY
    return place < share or not frozenset(stage).isdisjoint(groups)


def ruling(policy: Policy | InForce) -> InForce:
    """A policy alone is one for everybody, without a breaker."""
    return policy if isinstance(policy, InForce) else InForce(policy)
