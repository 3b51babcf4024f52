"""The instances of the tunnel on one node: each has an interface, a UDP port and a slice of the address pool.

A slice is the same range of offsets in every network of the pool, so that an address alone says whose it is, and a
session keeps its addresses when the number of instances changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network
SMALLEST = 8
"""Addresses of a slice: its network's, the gateway's, the broadcast address and a few sessions."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of the tunnel."""

    interface: str
    port: int
    addresses: tuple[Network, ...]


def slice_size(networks: tuple[Network, ...], count: int) -> int:
    """How many addresses of each network one of `count` instances has: all of them, or an equal power of two."""
    smallest = min(network.num_addresses for network in networks)
    return smallest >> (count - 1).bit_length()


def instances(interface: str, port: int, networks: tuple[Network, ...], count: int) -> tuple[Instance, ...]:
    """Name them all: interfaces and ports are counted on from the first. Raises ValueError when there is no room."""
    if count == 1:
        return (Instance(interface, port, networks),)
    size = slice_size(networks, count)
    if size < SMALLEST:
        raise ValueError(f"{count} instances need a pool of more addresses: each has {size}, and needs {SMALLEST}")
    stem = interface.rstrip("0123456789")
    first = int(interface[len(stem) :] or 0)
    made = tuple(
        Instance(f"{stem}{first + at}", port + at, tuple(_slice(network, size, at) for network in networks))
        for at in range(count)
    )
    if len(made[-1].interface.encode()) > 15 or made[-1].port > 65_535:
        raise ValueError(f"the last instance would be {made[-1].interface} on port {made[-1].port}, which cannot be")
    return made


def _slice(network: Network, size: int, at: int) -> Network:
    prefix = network.max_prefixlen - (size.bit_length() - 1)
    return ip_network((int(network.network_address) + at * size, prefix))
