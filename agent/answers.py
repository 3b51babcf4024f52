"""The gateway's answers, read strictly: they are input like any other, and nothing of them is run or written as a path."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Final, TypeVar

from agent.errors import Nonsense
from agent.wire import TunnelConfig

T = TypeVar("T")
MOST = 256
"""Findings, resources, addresses or routes of one answer."""
LONGEST_TEXT = 2000
_NETWORK: Final = re.compile(r"[0-9a-fA-F.:]{2,45}(/\d{1,3})?", re.ASCII)
"""No zone of IPv6 (`%`): what follows it may be anything, a line of UAPI too."""
_ENDPOINT: Final = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):(?P<port>\d{1,5})", re.ASCII)
_DOMAIN: Final = re.compile(r"\.|(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*", re.ASCII)
"""A name as resolv.conf(5) and resolvectl(1) take it; `.` is all names. Nothing that either would read as an option."""
MOST_SERVERS: Final = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the tier is not better. Times are Unix seconds; `effective` is False while a grace or a warning runs."""

    check: str
    reason: str
    tier: str
    effective: bool
    since: float
    grace_until: float | None
    fix: str | None


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that may be reached now."""

    name: str
    destinations: tuple[str, ...]
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepUp:
    """Something that another login would open: one at most `max_age` seconds old, of one of these classes."""

    resource: str
    max_age: int | None
    acr_values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a session stands."""

    session: str
    tier: str
    findings: tuple[Finding, ...]
    resources: tuple[Resource, ...]
    sequence: int
    lease_ms: int
    heartbeat_ms: int
    policy_version: str
    trace: str = ""
    """The gateway's name for this decision; none from an older gateway."""
    expires_at: float | None = None
    """When the session ends whatever is reported; none from an older gateway."""
    step_up: tuple[StepUp, ...] = ()

    @property
    def refused(self) -> list[Finding]:
        """The findings that take something away now."""
        return [finding for finding in self.findings if finding.effective]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Attestation:
    """What the gateway wants to hear from a TPM: of which PCRs, and whether it knows the TPM already."""

    pcrs: tuple[int, ...]
    proved: bool


def attestation(members: object) -> Attestation | None:
    """Read what is wanted of a TPM; None when nothing is. Raises Nonsense."""
    if members is None:
        return None
    given = _object(members, "attest")
    pcrs = given.get("pcrs")
    if not isinstance(pcrs, list) or not all(type(n) is int and 0 <= n < 24 for n in pcrs) or len(pcrs) > 24:
        raise Nonsense("the gateway sent no proper pcrs")
    return Attestation(tuple(pcrs), given.get("proved") is True)


def data(members: Mapping[str, Any], name: str) -> bytes:
    """Read bytes in base64. Raises Nonsense."""
    try:
        return base64.b64decode(_words(members, name), validate=True)
    except ValueError:
        raise Nonsense(f"the gateway sent no proper {name}") from None


def verdict(members: object) -> Verdict:
    """Read a verdict. Raises Nonsense that names the member."""
    given = _object(members, "the verdict")
    return Verdict(
        session=text(given, "session"),
        tier=text(given, "tier"),
        findings=_list(given, "findings", _finding),
        resources=_list(given, "resources", _resource),
        sequence=_whole(given, "sequence", 0, 2**53),
        lease_ms=_whole(given, "lease_ms", 0, 24 * 3600 * 1000),
        heartbeat_ms=_whole(given, "heartbeat_ms", 1000, 24 * 3600 * 1000),
        policy_version=text(given, "policy_version"),
        step_up=_list(given, "step_up", _step_up) if "step_up" in given else (),
        trace=text({"trace": "", **given}, "trace"),
        expires_at=_instant(given, "expires_at"),
    )


def tunnel(members: object) -> TunnelConfig:
    """Read a tunnel configuration: every address, route, key and number is what it should be. Raises Nonsense."""
    given = _object(members, "tunnel")
    addresses, routes = _texts(given, "addresses"), _texts(given, "routes")
    key, endpoint = _words(given, "public_key"), _ENDPOINT.fullmatch(_words(given, "endpoint"))
    _whole(given, "mtu", 1280, 65439)
    _whole(given, "keepalive", 0, 65535)
    for name, most in (("dns", MOST_SERVERS), ("domains", MOST)):
        if name in given and len(_texts(given, name)) > most:
            raise Nonsense(f"the gateway sent no proper {name}")
    try:
        networks = [ip_interface(address) for address in addresses] + [ip_network(route) for route in routes]
        sound = len(base64.b64decode(key, validate=True)) == 32 and all(map(_NETWORK.fullmatch, [*addresses, *routes]))
    except ValueError:
        sound, networks = False, []
    if not sound or not addresses or not networks or endpoint is None or not 0 < int(endpoint["port"]) < 65536:
        raise Nonsense("the gateway sent a tunnel that cannot be used: addresses, routes, key or endpoint")
    config = TunnelConfig.from_json(given)
    _check_names(config)
    return config


def _check_names(config: TunnelConfig) -> None:
    """Name servers lie behind the tunnel: nobody is sent to ask a stranger. Raises Nonsense."""
    inside = [ip_network(route) for route in config.routes]
    try:
        servers = [ip_address(server) for server in config.dns if _NETWORK.fullmatch(server)]
    except ValueError:
        servers = []
    if len(servers) != len(config.dns) or not all(any(server in route for route in inside) for server in servers):
        raise Nonsense("the gateway sent a name server that is no address behind the tunnel")
    if not all(map(_DOMAIN.fullmatch, config.domains)):
        raise Nonsense("the gateway sent a domain that is none")


def text(members: Mapping[str, Any], name: str) -> str:
    """Read a text that is safe to show in a terminal."""
    return printable(_words(members, name))


def printable(value: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in value)


def _words(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise Nonsense(f"the gateway sent no proper {name}")
    return value


def _finding(members: Mapping[str, Any]) -> Finding:
    return Finding(
        check=text(members, "check"),
        reason=text(members, "reason"),
        tier=text(members, "tier"),
        effective=members.get("effective") is not False,
        since=_instant(members, "since") or 0.0,
        grace_until=_instant(members, "grace_until"),
        fix=text(members, "fix") if members.get("fix") is not None else None,
    )


def _resource(members: Mapping[str, Any]) -> Resource:
    named = {name: tuple(map(printable, _texts(members, name))) for name in ("destinations", "ports")}
    return Resource(text(members, "name"), named["destinations"], named["ports"])


def _step_up(members: Mapping[str, Any]) -> StepUp:
    max_age = None if members.get("max_age") is None else _whole(members, "max_age", 1, 2**31)
    return StepUp(text(members, "resource"), max_age, tuple(map(printable, _texts(members, "acr_values"))))


def _texts(members: Mapping[str, Any], name: str) -> list[str]:
    values = members.get(name)
    if not isinstance(values, list) or len(values) > MOST:
        raise Nonsense(f"the gateway sent no proper {name}")
    return [_words({name: value}, name) for value in values]


def _list(members: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
    values = members.get(name)
    if not isinstance(values, list) or len(values) > MOST:
        raise Nonsense(f"the gateway sent no proper {name}")
    return tuple(read(_object(value, name)) for value in values)


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Nonsense(f"the gateway sent no proper {name}")
    return value


def _whole(members: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = members.get(name)
    if type(value) is not int or not low <= value <= high:
        raise Nonsense(f"the gateway sent no proper {name}")
    return value


def _instant(members: Mapping[str, Any], name: str) -> float | None:
    value = members.get(name)
    if value is not None and (type(value) not in (int, float) or not 0 <= value <= 253_402_300_799):
        raise Nonsense(f"the gateway sent no proper {name}")
    return value
