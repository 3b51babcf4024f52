"""What a policy file may say, as pydantic sees it. One class per mapping; unknown keys are refused.

A file may hold any part of the whole; `load.py` puts the parts together and checks what they say about each other.
The JSON Schema for editors is made from these classes.
"""

from __future__ import annotations

import re
from dataclasses import field
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.dataclasses import dataclass

from gateway.policy import durations
from gateway.policy.checks import COMPOSED, KINDS, AnyCheck
from gateway.policy.checks.check import STRICT, Duration, Fixes
from gateway.policy.checks.composition import OUTERMOST
from gateway.policy.names import Group, Name
from gateway.policy.networks import Network, Ports
from gateway.policy.source import Path
from gateway.policy.validation import keys

LONGEST_LEASE = timedelta(minutes=15)
"""A stolen laptop that is switched off keeps its access for one lease."""
SHORTEST_LEASE = timedelta(seconds=5)

RATE = r"^[1-9][0-9]{0,5}[kMG]bit$"


def _rate(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch(RATE, text):
        raise ValueError("is not a rate; allowed is a whole number with kbit, Mbit or Gbit, for example 20Mbit")
    return int(text[:-4]) * {"k": 10**3, "M": 10**6, "G": 10**9}[text[-4]]


Rate = Annotated[
    int, BeforeValidator(_rate), WithJsonSchema({"type": "string", "pattern": RATE, "examples": ["20Mbit"]})
]
Groups = Annotated[list[Group], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Resource:
    """A named destination. Without `ports` every protocol and port is meant."""

    destinations: Annotated[list[Network], Field(min_length=1)]
    ports: Annotated[list[Ports], Field(min_length=1)] | None = None

    def permits(self) -> list[str]:
        """List what it means to the data plane: `<cidr>[ <protocol>[/<port>[-<port>]]]`."""
        return [f"{network} {ports}".rstrip() for network in self.destinations for ports in self.ports or [""]]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Grant:
    """These groups reach these resources at `tier` or better."""

    groups: Groups
    tier: Name
    resources: Annotated[list[Name], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SessionRules:
    """How long things last. `without_report` is the tier of a session whose reports stopped coming."""

    lease: Duration = timedelta(seconds=60)
    max_duration: Duration = timedelta(hours=12)
    idle: Duration = timedelta(minutes=30)
    reauthenticate: Duration = timedelta(hours=12)
    without_report: Name | None = None

    def __post_init__(self) -> None:
        if not SHORTEST_LEASE <= self.lease <= LONGEST_LEASE:
            allowed = f"{durations.show(SHORTEST_LEASE)} to {durations.show(LONGEST_LEASE)}"
            raise ValueError(f"has a lease of {durations.show(self.lease)}; allowed is {allowed}")
        for name in ("max_duration", "idle", "reauthenticate"):
            if getattr(self, name) < self.lease:
                raise ValueError(f"has {name} shorter than the lease of {durations.show(self.lease)}")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limit:
    """What a member of these groups may send and receive at most. Of several limits the lowest counts."""

    groups: Groups
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Document:
    """A policy, or the part of it that one file holds."""

    policy: Name | None = None
    tiers: Annotated[list[Name], Field(min_length=2, max_length=16)] | None = None
    resources: dict[Name, Resource] = field(default_factory=dict)
    access: list[Grant] = field(default_factory=list)
    checks: dict[Name, AnyCheck] = field(default_factory=dict)
    session: SessionRules | None = None
    limits: list[Limit] = field(default_factory=list)


def keys_at(path: Path) -> list[str]:
    """List the keys that the mapping at a pydantic error location may have."""
    match path:
        case ():
            return keys(Document)
        case ("session",):
            return keys(SessionRules)
        case ("checks", *_, "fix", _):
            return keys(Fixes)
        case ("checks", _, str(kind)):
            return keys(KINDS.get(kind) or COMPOSED.get(kind))
        case ("checks", *_, str(kind)):
            return [name for name in keys(KINDS.get(kind) or COMPOSED.get(kind)) if name not in OUTERMOST]
        case (str(section), _):
            return keys({"resources": Resource, "access": Grant, "limits": Limit}.get(section))
    return []
