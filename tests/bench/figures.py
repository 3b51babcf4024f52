"""What is measured and what must be reached: tables, which `__main__` walks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.demo.namespaces import Host
from tests.bench import measure

BASE = "wireguard-go-newest"
OPENVPN = "openvpn"
BOTH_ENDS = ("native", "python", BASE, "boringtun", OPENVPN)
MIXED = (BASE, "native")
"""A stock client, and our gateway."""


@dataclass(frozen=True)
class Probe:
    """One measurement through a tunnel of two programs. It gives one value for each of its figures."""

    name: str
    figures: tuple[str, ...]
    unit: str
    take: Callable[[Host, Host, str], Sequence[float]]


PROBES = (
    Probe("tcp", ("one TCP stream, there",), "Mbit/s", lambda c, s, a: [measure.tcp(c, s, a)]),
    Probe("back", ("one TCP stream, back",), "Mbit/s", lambda c, s, a: [measure.tcp(c, s, a, "-R")]),
    Probe("streams", ("8 TCP streams, there",), "Mbit/s", lambda c, s, a: [measure.tcp(c, s, a, "-P", "8")]),
    Probe(
        "udp64", ("UDP without loss, 64 bytes",), "packets/s", lambda c, s, a: [measure.udp_without_loss(c, s, a, 64)]
    ),
    Probe(
        "udp1400",
        ("UDP without loss, 1392 bytes",),
        "packets/s",
        lambda c, s, a: [measure.udp_without_loss(c, s, a, 1392)],
    ),
    Probe("rtt", ("round trip, p50", "round trip, p99"), "us", lambda c, _s, a: measure.round_trips(c, a)),
)


@dataclass(frozen=True)
class Target:
    """A ratio between the medians of two rows, or a bound for the median itself where `against` is None."""

    figure: str
    pair: str
    against: str | None
    bound: float
    at_most: bool = False

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


STREAM = ("one TCP stream, there", "one TCP stream, back")
MIXED_LABEL = f"{BASE} → native"
TARGETS = (
    *(Target(figure, "native", BASE, 1.3) for figure in STREAM),
    *(Target(figure, "python", BASE, 0.4) for figure in STREAM),
    *(Target(figure, "native", OPENVPN, 6.0) for figure in STREAM),
    *(Target(figure, "python", OPENVPN, 2.0) for figure in STREAM),
    *(Target(figure, MIXED_LABEL, BASE, 1.1) for figure in STREAM),
    Target("8 TCP streams, there", "native", BASE, 1.0),
    Target("UDP without loss, 64 bytes", "native", BASE, 1.0),
    Target("UDP without loss, 1392 bytes", "native", BASE, 1.0),
    Target("round trip, p50", "native", BASE, 1.0, at_most=True),
    Target("round trip, p99", "native", BASE, 1.0, at_most=True),
    Target("TCP with 10,000 peers", "10,000 peers", "1 peer", 0.95),
    Target("TCP with 10,000 permits", "10,000 permits", "1 permit", 0.95),
    Target("memory per idle peer at 10,000", "native", None, 20.0, at_most=True),
    Target("handshakes answered on one core", "native", None, 800.0),
    Target("TCP beside a flood", "flooded", "half of alone", 0.9),
    Target("rate, worst second of TCP", "20 Mbit/s, rx", None, 5.0, at_most=True),
    Target("rate, worst second of TCP", "20 Mbit/s, tx", None, 5.0, at_most=True),
    Target("rate, worst second of TCP", "200 Mbit/s, rx", None, 5.0, at_most=True),
    Target("rate, worst second of TCP", "200 Mbit/s, tx", None, 5.0, at_most=True),
    Target("two clients, both at once", "two instances", "one instance", 1.6),
)
