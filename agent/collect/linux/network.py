"""The network around the machine: default gateways, name servers, and whether a captive portal stands in the way."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final

from agent.collect.reading import Unreadable, absent, command, file, stated, texts
from agent.wire import Fact

FACTS: Final = ("network.gateways", "network.dns_servers", "network.captive_portal")
RESOLV: Final = Path("/etc/resolv.conf")
RESOLVED: Final = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved names the servers behind its own stub."""
STUBS: Final = {"127.0.0.53", "127.0.0.54"}
UP_AND_GATEWAY: Final = 0x0003
REJECT: Final = 0x0200
"""RTF_ flags of linux/route.h."""
_ROUTE6 = re.compile(
    r"0{32} 00 0{32} 00 (?P<gateway>[0-9a-f]{32}) [0-9a-f]{8} [0-9a-f]{8} [0-9a-f]{8} (?P<flags>[0-9a-f]{8}) +\S+"
)


def collect(*, now: float) -> dict[str, Fact]:
    """Read the facts; what cannot be read of one says nothing about the others."""
    return {**_gateways(now), **_servers(now), **_portal(now)}


def _gateways(now: float) -> dict[str, Fact]:
    try:
        found = parse_route(file("/proc/self/net/route"))
        six = Path("/proc/self/net/ipv6_route")
        found += parse_route6(file(six)) if six.exists() else []
        return stated("/proc/net/route, ipv6_route", now, network__gateways=texts(found))
    except Unreadable as error:
        return absent(("network.gateways",), "/proc/net/route", now, str(error))


def parse_route(said: str) -> list[str]:
    """Read /proc/net/route: gateways of routes to everywhere. Raises Unreadable."""
    heading, *lines = said.split("\n")
    if heading.split()[:3] != ["Iface", "Destination", "Gateway"]:
        raise Unreadable("/proc/net/route has another form")
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 8 or not re.fullmatch(r"[0-9A-F]{8}", words[2]) or not re.fullmatch(r"[0-9A-F]{1,4}", words[3]):
            continue
        flags = int(words[3], 16)
        if words[1] == words[7] == "00000000" and flags & UP_AND_GATEWAY == UP_AND_GATEWAY and not flags & REJECT:
            found.append(str(ipaddress.IPv4Address(bytes.fromhex(words[2])[::-1])))
    return found


def parse_route6(said: str) -> list[str]:
    """Read /proc/net/ipv6_route: destination, source, next hop, metric, counters, flags, interface."""
    found = []
    for line in said.split("\n"):
        row = _ROUTE6.fullmatch(line) if len(line) < 400 else None
        if row and int(row["flags"], 16) & (UP_AND_GATEWAY | REJECT) == UP_AND_GATEWAY:
            found.append(str(ipaddress.IPv6Address(bytes.fromhex(row["gateway"]))))
    return found


def _servers(now: float) -> dict[str, Fact]:
    try:
        found, path = parse_resolv(file(RESOLV)), RESOLV
        if found and set(found) <= STUBS and RESOLVED.exists():
            found, path = parse_resolv(file(RESOLVED)), RESOLVED
        return stated(str(path), now, network__dns_servers=texts(found))
    except Unreadable as error:
        return absent(("network.dns_servers",), str(RESOLV), now, str(error))


def parse_resolv(said: str) -> list[str]:
    """Read resolv.conf(5): the name servers; a line that names no address is passed over, as resolvers do."""
    found = []
    for line in said.split("\n"):
        words = line.split() if len(line) < 1000 else []
        if len(words) >= 2 and words[0] == "nameserver" and (address := _address(words[1])):
            found.append(address)
    return found


def _address(said: str) -> str | None:
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return None


def _portal(now: float) -> dict[str, Fact]:
    try:
        said = command("nmcli", "--terse", "--fields", "CONNECTIVITY", "general", timeout=3.0)
        return stated("nmcli general", now, network__captive_portal=parse_connectivity(said))
    except Unreadable as error:
        return absent(("network.captive_portal",), "nmcli general", now, str(error))


def parse_connectivity(said: str) -> bool:
    """Read NetworkManager's verdict, `portal` or another. Raises Unreadable when it has none: its check is off, say."""
    word = said.strip()
    if word not in ("none", "portal", "limited", "full"):
        raise Unreadable("NetworkManager has not checked the connection")
    return word == "portal"
