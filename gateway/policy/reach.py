"""What permits come to for a person: is this destination reached, and does anything reach into that resource?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway.packet.permits import PROTOCOLS, Permit, Permits

_TEXT = re.compile(r"(?P<address>[0-9A-Fa-f.:]+) (?:(?P<flow>tcp|udp)/(?P<port>[0-9]{1,5})|(?P<other>icmp|icmpv6))")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a single packet goes: `10.20.0.10 tcp/443` or `2001:db8::10 icmpv6`."""

    address: IPv4Address | IPv6Address
    protocol: int
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Read it. Raises ValueError that says what is allowed."""
        match = _TEXT.fullmatch(text)
        port = int(match["port"] or 1) if match else 0
        if match is None or not 0 < port < 65536:
            raise ValueError("is no destination; allowed is for example 10.20.0.10 tcp/443 or 10.20.0.10 icmp")
        try:
            address = ip_address(match["address"])
        except ValueError:
            raise ValueError("is no destination; it does not begin with an IP address") from None
        return cls(address, PROTOCOLS[match["flow"] or match["other"]], port if match["flow"] else 0)

    def reached_by(self, permits: Iterable[str]) -> bool:
        """Ask the same code that asks for every packet in the tunnel."""
        compiled = Permits(Permit.parse(permit) for permit in permits)
        return compiled.allow(self.address.packed, self.protocol, self.port)


def overlap(first: str, second: str) -> bool:
    """Say whether there is a packet that both permits let pass."""
    a, b = Permit.parse(first), Permit.parse(second)
    same_protocol = a.protocol is None or b.protocol is None or a.protocol == b.protocol
    networks = a.network.version == b.network.version and a.network.overlaps(b.network)
    return networks and same_protocol and a.low <= b.high and b.low <= a.high
