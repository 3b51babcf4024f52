"""What a peer may reach: `<cidr>[ <protocol>[/<port>[-<port>]]]`, as the data plane knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from gateway.packet import ip
from gateway.packet.prefixes import Network, PrefixTable

PROTOCOLS = {"tcp": ip.TCP, "udp": ip.UDP, "icmp": ip.ICMP, "icmpv6": ip.ICMPV6}
ALLOWED = "<cidr>, or <cidr> followed by tcp, udp, icmp or icmpv6, with /<port> or /<port>-<port> after tcp and udp"
_TEXT = re.compile(
    r"(?P<cidr>[0-9A-Fa-f.:/]+)(?: (?P<protocol>[a-z0-9]+)(?:/(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?)?)?"
)
_NAMES = {number: name for name, number in PROTOCOLS.items()}
ANY_PORT = (0, 65535)


@dataclass(frozen=True, slots=True, order=True)
class Permit:
    """One destination. `protocol` None means all; ports are an inclusive range."""

    network: Network
    protocol: int | None = None
    low: int = 0
    high: int = 65535

    @classmethod
    def parse(cls, text: str) -> Permit:
        """Read the UAPI form. Raises ValueError that says what is allowed."""
        match = _TEXT.fullmatch(text)
        if match is None or (match["protocol"] and match["protocol"] not in PROTOCOLS):
            raise ValueError(f"permit {text!r} is not {ALLOWED}")
        try:
            network = ip_network(match["cidr"], strict=False)
        except ValueError:
            raise ValueError(f"permit {text!r} is not {ALLOWED}") from None
        protocol = PROTOCOLS[match["protocol"]] if match["protocol"] else None
        if match["low"] is None:
            return cls(network, protocol)
        low = int(match["low"])
        high = int(match["high"] or low)
        if protocol not in (ip.TCP, ip.UDP) or not 0 < low <= high <= 65535:
            raise ValueError(f"permit {text!r} is not {ALLOWED}; ports are 1 to 65535, the lower first")
        return cls(network, protocol, low, high)

    def __str__(self) -> str:
        if self.protocol is None:
            return str(self.network)
        name = f"{self.network} {_NAMES[self.protocol]}"
        if (self.low, self.high) == ANY_PORT:
            return name
        return f"{name}/{self.low}" if self.low == self.high else f"{name}/{self.low}-{self.high}"


class Guard:
    """Networks that a permit has to name: one that is wider does not reach into them. Immutable."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._lengths: PrefixTable[int] = PrefixTable()
        for network in networks:
            self._lengths[network] = network.prefixlen

    def shortest(self, destination: bytes) -> int:
        """Give how long the prefix of a permit must be at least to mean this address."""
        return self._lengths.longest(destination) or 0


class Permits:
    """A compiled set of permits. Immutable; a change makes a new one."""

    def __init__(self, permits: Iterable[Permit] = (), guard: Guard | None = None) -> None:
        self.all = tuple(permits)
        self._guard = guard or Guard()
        self._table: PrefixTable[list[Permit]] = PrefixTable()
        for permit in self.all:
            alike = self._table.get(permit.network)
            if alike is None:
                self._table[permit.network] = [permit]
            else:
                alike.append(permit)

    def allow(self, destination: bytes, protocol: int, port: int) -> bool:
        """Say whether a packet to `destination` may pass. A permit wider than a special range does not reach into it."""
        narrow = ip.special(destination)
        shortest = self._guard.shortest(destination)
        for permits in self._table.matches(destination):
            for permit in permits:
                if permit.network.prefixlen < shortest or (narrow and not names_special(permit.network)):
                    continue
                if permit.protocol is None or (permit.protocol == protocol and permit.low <= port <= permit.high):
                    return True
        return False


def names_special(network: Network) -> bool:
    """Say whether the network is a special range or a part of one, so that whoever wrote it meant it."""
    shortest = 4 if network.version == 4 else 8  # 224.0.0.0/4 and ff00::/8 are the widest special ranges
    return network.prefixlen >= shortest and ip.special(network.network_address.packed)
