"""What a policy file may say, as pydantic sees it. One class per mapping; unknown keys are refused.

A file may hold any part of the whole; `load.py` puts the parts together and checks what they say about each other.
The JSON Schema for editors is made from these classes.
"""

from __future__ import annotations

import re
from dataclasses import field
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema
from pydantic.dataclasses import dataclass

from gateway.policy import durations
from gateway.policy.checks import COMPOSED, KINDS, AnyCheck
from gateway.policy.checks.check import STRICT, Duration, Fixes
from gateway.policy.checks.composition import OUTERMOST
from gateway.policy.names import Group, Name
from gateway.policy.source import Path
from gateway.policy.validation import keys

LONGEST_LEASE = timedelta(minutes=15)
"""A stolen laptop that is switched off keeps its access for one lease."""
SHORTEST_LEASE = timedelta(seconds=5)
SHORTEST_MAX_AGE = timedelta(minutes=1)
SHORTEST_CHECK = timedelta(minutes=1)
"""Of a login at its provider: each check is a request there."""

CIDR = r"^[0-9A-Fa-f.:]+(?:/(?:0|[1-9][0-9]{0,2}))?$"
"""No netmasks, of which 0.0.0.0 would mean everything, and no zones."""
PORTS = r"^(?:tcp|udp)(?:/[0-9]{1,5}(?:-[0-9]{1,5})?)?$|^icmp$|^icmpv6$"
RATE = r"^[1-9][0-9]{0,5}[kMG]bit$"


def _network(text: str) -> str:
    try:
        if not re.fullmatch(CIDR, text):
            raise ValueError
        return str(ip_network(text))
    except ValueError:
        raise ValueError(
            "is not a network; allowed is CIDR without host bits, for example 10.20.0.0/24, 10.20.0.10/32 or 2001:db8::/64"
        ) from None


def _ports(text: str) -> str:
    numbers = [int(number) for number in re.findall(r"(?<=[/-])[0-9]+", text)]
    if not re.fullmatch(PORTS, text) or numbers != sorted(numbers) or not all(0 < n < 65536 for n in numbers):
        raise ValueError("are not ports; allowed is for example tcp/443, udp/5000-5010, tcp, udp, icmp or icmpv6")
    protocol = text.partition("/")[0]
    return "/".join([protocol, *(["-".join(map(str, dict.fromkeys(numbers)))] if numbers else [])])


def _rate(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch(RATE, text):
        raise ValueError("is not a rate; allowed is a whole number with kbit, Mbit or Gbit, for example 20Mbit")
    return int(text[:-4]) * {"k": 10**3, "M": 10**6, "G": 10**9}[text[-4]]


Network = Annotated[
    str,
    Strict(),
    AfterValidator(_network),
    WithJsonSchema({"type": "string", "pattern": CIDR, "examples": ["10.20.0.10/32"]}),
]
Ports = Annotated[
    str,
    Strict(),
    AfterValidator(_ports),
    WithJsonSchema({"type": "string", "pattern": PORTS, "examples": ["tcp/443", "udp/5000-5010", "icmp"]}),
]
Rate = Annotated[
    int, BeforeValidator(_rate), WithJsonSchema({"type": "string", "pattern": RATE, "examples": ["20Mbit"]})
]
Groups = Annotated[list[Group], Field(min_length=1)]
Acr = Annotated[str, Strict(), Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
"""An authentication context class of the provider; a space would make two of it (OIDC Core 3.1.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Resource:
    """A named destination. Without `ports` every protocol and port is meant.

    `max_age` and `acr_values` open it only for a login that is young and strong enough.
    """

    destinations: Annotated[list[Network], Field(min_length=1)]
    ports: Annotated[list[Ports], Field(min_length=1)] | None = None
    max_age: Duration | None = None
    acr_values: Annotated[list[Acr], Field(min_length=1, max_length=16)] | None = None

    def __post_init__(self) -> None:
        if self.max_age is not None and self.max_age < SHORTEST_MAX_AGE:
            allowed = durations.show(SHORTEST_MAX_AGE)
            raise ValueError(f"has a max_age of {durations.show(self.max_age)}; allowed is {allowed} or more")

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
    not_compliant: Name | None = None
    medium_risk: Name | None = None
    high_risk: Name | None = None


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
    signals: SignalRules | None = None
    limits: list[Limit] = field(default_factory=list)


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
            return keys({"resources": Resource, "access": Grant, "limits": Limit}.get(section))
    return []
