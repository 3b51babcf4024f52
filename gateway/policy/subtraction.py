"""Permits without what is denied. The data plane knows permits alone, so a deny is a hole in them.

What is left never permits a packet that was not permitted before: a rest that would name a special range by itself, which the
whole did not mean, is dropped, and of "every protocol" are left the ones that can be named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from gateway.packet import ip
from gateway.packet.permits import ANY_PORT, Permit, names_special
from gateway.packet.prefixes import Network


def without(permits: Iterable[str], denied: Collection[str]) -> tuple[str, ...]:
    """Take the denied permits out of the others; sorted and without duplicates."""
    if not denied:
        return tuple(sorted(set(permits)))
    left = {Permit.parse(permit) for permit in permits}
    for hole in sorted({Permit.parse(permit) for permit in denied}, key=str):
        left = {rest for permit in left for rest in _without(permit, hole)}
    return tuple(sorted(map(str, left)))


def _without(permit: Permit, hole: Permit) -> Iterator[Permit]:
    if permit.network.version != hole.network.version or not permit.network.overlaps(hole.network):
        yield permit
        return
    if hole.protocol is not None and permit.protocol not in (None, hole.protocol):
        yield permit
        return
    if permit.protocol is not None and hole.protocol is not None and (hole.low > permit.high or hole.high < permit.low):
        yield permit
        return
    for network in _outside(permit.network, hole.network):
        if names_special(permit.network) or not names_special(network):
            yield Permit(network, permit.protocol, permit.low, permit.high)
    inner = permit.network if permit.network.prefixlen >= hole.network.prefixlen else hole.network
    if hole.protocol is not None and (names_special(permit.network) or not names_special(inner)):
        yield from _inside(permit, hole, inner)


def _outside(network: Network, hole: Network) -> Iterator[Network]:
    if network.prefixlen < hole.prefixlen:
        yield from network.address_exclude(hole)  # type: ignore[arg-type]


def _inside(permit: Permit, hole: Permit, network: Network) -> Iterator[Permit]:
    """What the hole leaves of its own network: the other protocols, and the ports beside its own."""
    if permit.protocol is None:
        control = ip.ICMP if network.version == 4 else ip.ICMPV6
        yield from (Permit(network, other) for other in (ip.TCP, ip.UDP, control) if other != hole.protocol)
    low, high = (permit.low, permit.high) if permit.protocol is not None else ANY_PORT
    if max(low, 1) < hole.low:
        yield Permit(network, hole.protocol, max(low, 1), hole.low - 1)
    if hole.high < high:
        yield Permit(network, hole.protocol, max(low, hole.high + 1), high)
