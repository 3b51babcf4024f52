"""What a policy file may say, as pydantic sees it. One class per mapping; unknown keys are refused.

A file may hold any part of the whole; `load.py` puts the parts together and checks what they say about each other.
The JSON Schema for editors is made from these classes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import field
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema
from pydantic.dataclasses import dataclass

from gateway.packet.ip import special
from gateway.policy import durations
from gateway.policy.checks import COMPOSED, KINDS, AnyCheck
from gateway.policy.checks.check import STRICT, Duration, Fixes
from gateway.policy.checks.composition import OUTERMOST
from gateway.policy.model import PRIVATE, Answers
from gateway.policy.names import Device, Group, Name
from gateway.policy.networks import Host, Network, Ports
from gateway.policy.source import Path
from gateway.policy.validation import keys
from gateway.policy.windows import Window

NO_ANSWERS: Answers = {}
LONGEST_LEASE = timedelta(minutes=15)
"""A stolen laptop that is switched off keeps its access for one lease."""
SHORTEST_LEASE = timedelta(seconds=5)
SHORTEST_MAX_AGE = timedelta(minutes=1)
SHORTEST_CHECK = timedelta(minutes=1)
"""Of a login at its provider: each check is a request there."""

COUNTRY = rf"^(?:[A-Z]{{2}}|{PRIVATE})$"
RATE = r"^[1-9][0-9]{0,5}[kMG]bit$"


def _country(text: str) -> str:
    if not re.fullmatch(COUNTRY, text):
        raise ValueError("is no country; allowed are two capital letters (ISO 3166-1), for example AT, or private")
    return text


def _included(text: str) -> str:
    if not 0 < len(text) <= 500 or text.startswith(("/", "~")) or "\\" in text or "\0" in text:
        raise ValueError("is not what can be included; allowed is a file or folder, named from this file's own folder")
    return text


def resolved(addresses: Iterable[str], within: Collection[str] | None) -> list[str]:
    """Keep the addresses that an answer may name: no special ones, and none outside of what was said. As networks, sorted."""
    kept = (address for address in map(ip_address, addresses) if not special(address.packed))
    limits = [ip_network(network) for network in within] if within is not None else None
    return sorted(
        str(ip_network(address))
        for address in kept
        if limits is None or any(address in limit for limit in limits if limit.version == address.version)
    )


def _rate(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch(RATE, text):
        raise ValueError("is not a rate; allowed is a whole number with kbit, Mbit or Gbit, for example 20Mbit")
    return int(text[:-4]) * {"k": 10**3, "M": 10**6, "G": 10**9}[text[-4]]


Rate = Annotated[
    int, BeforeValidator(_rate), WithJsonSchema({"type": "string", "pattern": RATE, "examples": ["20Mbit"]})
]
Groups = Annotated[list[Group], Field(min_length=1)]
Names = Annotated[list[Name], Field(min_length=1)]
Country = Annotated[str, Strict(), AfterValidator(_country), WithJsonSchema({"type": "string", "pattern": COUNTRY})]
Included = Annotated[
    str, Strict(), AfterValidator(_included), WithJsonSchema({"type": "string", "examples": ["../common", "more.yaml"]})
]
MOST_SESSIONS = 1_000
"""Of one user: more are no limit."""
Acr = Annotated[str, Strict(), Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
"""An authentication context class of the provider; a space would make two of it (OIDC Core 3.1.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Resource:
    """A named destination: networks, DNS names, or both. Without `ports` every protocol and port is meant.

    Of a DNS name count the addresses that the gateway's own resolver finds, within `within` where that is said. `max_age` and
    `acr_values` open it only for a login that is young and strong enough.
    """

    destinations: Annotated[list[Network], Field(min_length=1)] | None = None
    names: Annotated[list[Host], Field(min_length=1)] | None = None
    within: Annotated[list[Network], Field(min_length=1)] | None = None
    ports: Annotated[list[Ports], Field(min_length=1)] | None = None
    max_age: Duration | None = None
    acr_values: Annotated[list[Acr], Field(min_length=1, max_length=16)] | None = None

    def __post_init__(self) -> None:
        if self.destinations is None and self.names is None:
            raise ValueError("is nowhere; it needs destinations, names, or both")
        if self.within is not None and self.names is None:
            raise ValueError("has within and no names; it says where the addresses of names may lie")
        if self.max_age is not None and self.max_age < SHORTEST_MAX_AGE:
            allowed = durations.show(SHORTEST_MAX_AGE)
            raise ValueError(f"has a max_age of {durations.show(self.max_age)}; allowed is {allowed} or more")

    def networks(self, answers: Answers) -> list[str]:
        """List where it is: the networks, and the addresses that its names have now."""
        found = {address for name in self.names or () for address in answers.get(name, ())}
        return [*(self.destinations or ()), *resolved(found, self.within)]

    def permits(self, answers: Answers = NO_ANSWERS) -> list[str]:
        """List what it means to the data plane: `<cidr>[ <protocol>[/<port>[-<port>]]]`."""
        return [f"{network} {ports}".rstrip() for network in self.networks(answers) for ports in self.ports or [""]]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Rule:
    """Whom an access rule is about, and when and where it holds. Of several keys, all must hold."""

    groups: Groups
    tags: Names | None = None
    devices: Annotated[list[Device], Field(min_length=1)] | None = None
    when: Names | None = None
    """Windows of which one at least is open."""
    networks: Names | None = None
    countries: Annotated[list[Country], Field(min_length=1)] | None = None
    """Where the device connects from."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Grant(Rule):
    """These groups reach these resources at `tier` or better."""

    tier: Name
    resources: Names


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Deny(Rule):
    """These groups do not reach these resources, whatever is granted. Without `resources`: none at all."""

    resources: Names | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SessionRules:
    """How long things last. `without_report` is the tier of a session whose reports stopped coming, `without_login` that of
    one whose login is older than `reauthenticate`; without it such a session ends.

    `check_login` is how often the provider is asked whether a login still holds. `device_code` lets a machine without a
    screen log in by a code that is typed elsewhere (RFC 8628).
    """

    lease: Duration = timedelta(seconds=60)
    max_duration: Duration = timedelta(hours=12)
    idle: Duration = timedelta(minutes=30)
    reauthenticate: Duration = timedelta(hours=12)
    without_report: Name | None = None
    without_login: Name | None = None
    check_login: Duration | None = None
    device_code: Annotated[bool, Strict()] = False

    def __post_init__(self) -> None:
        if not SHORTEST_LEASE <= self.lease <= LONGEST_LEASE:
            allowed = f"{durations.show(SHORTEST_LEASE)} to {durations.show(LONGEST_LEASE)}"
            raise ValueError(f"has a lease of {durations.show(self.lease)}; allowed is {allowed}")
        for name in ("max_duration", "idle", "reauthenticate"):
            if getattr(self, name) < self.lease:
                raise ValueError(f"has {name} shorter than the lease of {durations.show(self.lease)}")
        if self.check_login is not None and self.check_login < SHORTEST_CHECK:
            allowed = durations.show(SHORTEST_CHECK)
            raise ValueError(f"has a check_login of {durations.show(self.check_login)}; allowed is {allowed} or more")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SignalRules:
    """The tier to fall to while the provider's security events (CAEP) hold something against the user or the device."""

    credential_change: Name | None = None
    lower_assurance: Name | None = None
    not_compliant: Name | None = None
    medium_risk: Name | None = None
    high_risk: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limit:
    """What a member of these groups may do at most. Of several limits the lowest counts.

    `rate` each way; `sessions` at a time, one for each device; `max_duration` and `idle` as in `session`.
    """

    groups: Groups
    rate: Rate | None = None
    sessions: Annotated[int, Strict(), Field(ge=1, le=MOST_SESSIONS)] | None = None
    max_duration: Duration | None = None
    idle: Duration | None = None

    def __post_init__(self) -> None:
        if self.rate is None and self.sessions is None and self.max_duration is None and self.idle is None:
            raise ValueError("limits nothing; it needs at least one of rate, sessions, max_duration, idle")
        for name in ("max_duration", "idle"):
            if (limit := getattr(self, name)) is not None and limit < SHORTEST_LEASE:
                raise ValueError(f"has {name} below {durations.show(SHORTEST_LEASE)}, the shortest lease")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Document:
    """A policy, or the part of it that one file holds."""

    policy: Name | None = None
    include: list[Included] = field(default_factory=list)
    """Files, and folders with all of their *.yaml, that are parts of this policy too."""
    tiers: Annotated[list[Name], Field(min_length=2, max_length=16)] | None = None
    resources: dict[Name, Resource] = field(default_factory=dict)
    windows: dict[Name, Window] = field(default_factory=dict)
    networks: dict[Name, Annotated[list[Network], Field(min_length=1)]] = field(default_factory=dict)
    tags: dict[Name, list[Device]] = field(default_factory=dict)
    """Names for devices, by their ids: for rules and checks that concern some of them only."""
    access: list[Grant] = field(default_factory=list)
    deny: list[Deny] = field(default_factory=list)
    checks: dict[Name, AnyCheck] = field(default_factory=dict)
    session: SessionRules | None = None
    signals: SignalRules | None = None
    limits: list[Limit] = field(default_factory=list)


_SECTIONS = {"resources": Resource, "windows": Window, "access": Grant, "deny": Deny, "limits": Limit}


def keys_at(path: Path) -> list[str]:
    """List the keys that the mapping at a pydantic error location may have."""
    match path:
        case ():
            return keys(Document)
        case ("session",):
            return keys(SessionRules)
        case ("signals",):
            return keys(SignalRules)
        case ("checks", *_, "fix", _):
            return keys(Fixes)
        case ("checks", _, str(kind)):
            return keys(KINDS.get(kind) or COMPOSED.get(kind))
        case ("checks", *_, str(kind)):
            return [name for name in keys(KINDS.get(kind) or COMPOSED.get(kind)) if name not in OUTERMOST]
        case (str(section), _):
            return keys(_SECTIONS.get(section))
    return []
