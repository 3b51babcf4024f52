"""Whether packets flow: one is sent into the tunnel, and an answer is waited for. Any user may ask, any backend will do.

The datagram goes to udp/9 (discard) of addresses behind the tunnel. The gateway refuses it with an ICMP error, or the host
that it is for does; either way a packet comes out of the tunnel, and the interface counts it.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

PATIENCE: Final = 2.0
"""Seconds; a tunnel that takes longer is of no use to anybody."""
MOST: Final = 8
DISCARD: Final = 9
COUNTERS: Final = Path("/proc/self/net/dev")
"""Of this network namespace, readable by everybody."""


def beats(interface: str, routes: Sequence[str], *, patience: float = PATIENCE) -> float | None:
    """Seconds until a packet came out of the tunnel; None when none came in time, or there is no tunnel."""
    before = received(interface)
    if before is None:
        return None
    start = time.monotonic()
    knocked = 0.0
    while (waited := time.monotonic() - start) < patience:
        if waited >= knocked:
            _knock(routes)
            knocked += 0.5
        if (received(interface) or 0) > before:
            return time.monotonic() - start
        time.sleep(0.005)
    return None


def received(interface: str, counters: Path = COUNTERS) -> int | None:
    """Packets that came out of the interface; None when there is none of this name."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in counters.read_text().splitlines():
            name, colon, numbers = line.partition(":")
            if colon and name.strip() == interface:
                return int(numbers.split()[1])
    return None


def targets(routes: Sequence[str]) -> list[str]:
    """The first host of each route."""
    found = []
    for route in routes[:MOST]:
        network = ip_network(route)
        found.append(str(network[1] if network.num_addresses > 2 else network[0]))
    return found


def _knock(routes: Sequence[str]) -> None:
    for target in targets(routes):
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as knocking:
            knocking.setblocking(False)
            knocking.sendto(b"\0", (target, DISCARD))
